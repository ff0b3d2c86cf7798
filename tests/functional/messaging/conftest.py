"""A real RabbitMQ and two agents that listen on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nova_lite.peers.client import Peers
from nova_lite.rpc import transport
from nova_lite.wire.objects import WireObject
from tests.fakes.conf_file import read_conf
from tests.fakes.private_broker import PrivateBroker, missing

ROOT = Path(__file__).parents[3]
# Short, so that its end can be seen; the monitor of a long call is as long.
RESPONSE_TIMEOUT = 4


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    made = PrivateBroker(tmp_path_factory.mktemp("broker"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def configured(broker, tmp_path):
    """A ConfigOpts for the broker; options of [DEFAULT] may be given."""

    def make(name="nova", groups=None, **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        default = {"transport_url": broker.url, "host": name, **options}
        return read_conf(folder, {"DEFAULT": default, **(groups or {})})

    return make


class Agent:
    """The messaging side of a host, in a process of its own."""

    def __init__(self, host, folder):
        """:param folder: has the configuration file; the journal and the log go there"""
        self.host, self.folder = host, folder
        file, log = folder / "nova.conf", folder / "agent.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.functional.messaging.agent", host, str(file)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", log.read_text(encoding="utf-8")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def running_agents():
    running = {}
    yield running
    for agent in running.values():
        agent.kill()


@pytest.fixture
def agents(broker, running_agents, tmp_path_factory):
    """Makes sure that the agents of the named hosts run, and returns them."""

    def start(*hosts):
        for host in hosts:
            before = running_agents.get(host)
            if before is not None and before.process.poll() is None:
                continue
            folder = before.folder if before is not None else tmp_path_factory.mktemp(host)
            default = {"transport_url": broker.url, "host": host}
            read_conf(folder, {"DEFAULT": default})
            running_agents[host] = Agent(host, folder)
        return [running_agents[host] for host in hosts]

    return start


class ServiceRecords:
    """What the conductor knows of hosts: ``versions`` by name."""

    def __init__(self, versions):
        self.versions = versions

    def of_host(self, context, host):
        version = self.versions.get(host)
        return WireObject.new("Service", "1.22", host=host, version=version) if version else None


@pytest.fixture
def peers_of(configured):
    """The client of a host for its peers, which waits for ``patience`` seconds; ``versions``:
    service versions by host."""
    transports = []

    def make(host, groups=None, *, patience=RESPONSE_TIMEOUT, **versions):
        conf = configured(host, groups, rpc_response_timeout=patience)
        transports.append(transport.make(conf))
        return Peers(transports[-1], conf, ServiceRecords(versions))

    yield make
    for made in transports:
        made.cleanup()
