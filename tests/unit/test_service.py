"""What the agent as a process tells systemd."""

from __future__ import annotations

import socket

import oslo_messaging as messaging
import pytest

from nova_lite.clock import Clock
from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.loops.timer import Timer
from nova_lite.messaging import sending
from nova_lite.rpc import transport
from nova_lite.service import Agent
from tests.fakes.agent import FakeAgent
from tests.fakes.conf_file import read_conf


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Datagrams that it got."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def agent(tmp_path):
    conf = read_conf(
        tmp_path,
        {"DEFAULT": {"transport_url": "fake://", "state_path": str(tmp_path), "host": "host1"}},
    )
    # Registers rpc_response_timeout.
    sending.client(transport.make(conf), messaging.Target(topic="conductor"))
    made = Agent(conf)
    made._engine = FakeAgent(conf).engine
    return made


def away():
    raise ControlPlaneUnavailable("nova-conductor does not answer")


def test_an_agent_whose_control_plane_is_away_feeds_the_watchdog(agent, systemd):
    """Its heartbeats fail, one after the other: it waits, and is not to be killed."""
    agent._heartbeat = Timer("heartbeat", away, 0.01, first=0.0)
    agent._heartbeat.start()
    Clock().sleep(0.1)

    agent._watchdog().tick()

    assert systemd.recv(100) == b"WATCHDOG=1"
    agent._heartbeat.stop()


def test_an_agent_whose_heartbeat_hangs_does_not(agent, systemd, monkeypatch):
    """The broker carries messages, and this one does not end."""
    monkeypatch.setattr(transport, "carries", lambda conf: True)
    agent._heartbeat = Timer("heartbeat", lambda: None, 10.0)
    agent._heartbeat._ended -= 600.0

    agent._watchdog().tick()

    with pytest.raises(TimeoutError):
        systemd.recv(100)
