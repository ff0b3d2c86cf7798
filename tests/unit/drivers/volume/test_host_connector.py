"""What Cinder is told of this host."""

from __future__ import annotations

import pytest

from nova_lite.drivers.volume import host_connector
from nova_lite.drivers.volume.host_connector import HostConnector
from nova_lite.errors import HostConnectorFailed
from tests.fakes.conf_file import read_conf


def connector(tmp_path, **libvirt) -> HostConnector:
    options = {
        "DEFAULT": {
            "state_path": str(tmp_path),
            "host": "compute1",
            "my_ip": "192.0.2.1",
            "my_block_storage_ip": "198.51.100.1",
        },
        "libvirt": libvirt,
    }
    return HostConnector(read_conf(tmp_path, options))


def test_os_brick_finds_the_hosts_names(tmp_path, monkeypatch):
    """Once; the answer is remembered, and nobody can change it."""
    host = connector(tmp_path)
    found = host.properties()

    assert found["host"] == "compute1"
    assert found["ip"] == "198.51.100.1"
    assert found["multipath"] is False
    assert {"platform", "os_type", "do_local_attach"} <= found.keys()

    found["host"] = "another"
    monkeypatch.setattr(host_connector, "_ask_probe", None)
    assert host.properties()["host"] == "compute1"


def test_multipath_is_asked_for_as_nova_conf_says(tmp_path):
    """And enforced, as by nova-compute: a single path must not pass for several."""
    found = connector(tmp_path, volume_use_multipath="true").properties()

    assert found["multipath"] is True
    assert found["enforce_multipath"] is True


def test_a_failure_is_not_remembered(tmp_path, monkeypatch):
    """The next attachment asks again."""
    host = connector(tmp_path)
    monkeypatch.setattr(host_connector.sys, "executable", "/nowhere/python")
    with pytest.raises(HostConnectorFailed, match="/nowhere/python"):
        host.properties()
    monkeypatch.undo()

    assert host.properties()["host"] == "compute1"


def test_a_probe_that_hangs_is_stopped(tmp_path, monkeypatch):
    """A program of some storage that never ends must not keep the agent."""
    monkeypatch.setattr(host_connector, "PROBE_S", 0.01)

    with pytest.raises(HostConnectorFailed, match="timed out"):
        connector(tmp_path).properties()
