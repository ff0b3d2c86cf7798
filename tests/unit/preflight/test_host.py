from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg

from nova_lite.inventory.disk import DiskSpace
from nova_lite.preflight import host
from nova_lite.preflight.base import Status


@contextmanager
def ovsdb(path: Path, answer: bytes) -> Iterator[None]:
    """An ovsdb-server that gives one answer, in two pieces."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        client, _ = server.accept()
        with client:
            request = json.loads(client.recv(65536))
            assert request["method"] == "transact"
            client.sendall(answer[:10])
            client.sendall(answer[10:])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join(5)
    server.close()


def env(where: str) -> Any:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("ovs_bridge", default="br-int")], group="neutron")
    conf.register_opts([cfg.StrOpt("ovsdb_connection", default=where)], group="os_vif_ovs")
    conf([], default_config_files=[])
    return SimpleNamespace(conf=conf)


def rows(*names: str) -> bytes:
    found = [{"name": name, "datapath_type": "netdev"} for name in names]
    return json.dumps({"id": 0, "error": None, "result": [{"rows": found}]}).encode()


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (rows("br-ex", "br-int"), Status.OK, "br-int exists (datapath netdev)"),
        (rows("br-ex"), Status.FAILURE, "has no bridge br-int"),
        (b'{"id": 0, "error": "x", "result": null}', Status.FAILURE, "unexpected answer"),
        (b'{"id": 0, "err', Status.FAILURE, "connection closed"),
    ],
)
def test_ovs_needs_the_integration_bridge(
    tmp_path: Path, answer: bytes, status: Status, says: str
) -> None:
    """ovsdb-server is asked in its own protocol; no command-line tool is needed."""
    with ovsdb(tmp_path / "db.sock", answer):
        found = host.OVS.look(env(f"unix:{tmp_path}/db.sock"))

    assert found.status is status
    assert says in found.message


def test_a_silent_ovsdb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and says nothing."""
    monkeypatch.setattr(host, "OVSDB_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = host.OVS.look(env(f"tcp:127.0.0.1:{server.getsockname()[1]}"))

    assert found.status is Status.FAILURE
    assert "timed out" in found.message


@pytest.mark.parametrize("where", ["unix:/nowhere/db.sock", "ssl:127.0.0.1:6640", "tcp:localhost"])
def test_an_ovsdb_that_cannot_be_reached_is_named(where: str) -> None:
    """Together with the option that says where it is."""
    found = host.OVS.look(env(where))

    assert found.status is Status.FAILURE
    assert where in found.message
    assert "ovsdb_connection" in found.remedy


@pytest.mark.parametrize(
    ("free", "least", "status"),
    [
        (100, 90, Status.OK),
        (9, 5, Status.WARNING),
        (100, -3, Status.WARNING),
        (0, 0, Status.FAILURE),
    ],
)
def test_room_for_disks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, least: int, status: Status
) -> None:
    """Little room and too many promises are warnings, none is a failure."""
    monkeypatch.setattr(host.disk, "look", lambda path: DiskSpace(250, free, least))
    conf = SimpleNamespace(instances_path=str(tmp_path / "instances"))

    found = host.DISK.look(SimpleNamespace(conf=conf))

    assert found.status is status
    assert f"{free} of 250 GiB free" in found.message


def test_a_directory_of_somebody_else_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The agent could make no disk there; the first directory that exists is what counts."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    conf = SimpleNamespace(instances_path=str(tmp_path / "instances"))

    found = host.DISK.look(SimpleNamespace(conf=conf))

    assert found.status is Status.FAILURE
    assert f"{tmp_path} is not writable" in found.message


@pytest.mark.parametrize(
    ("kind", "status"),
    [("tmpfs", Status.OK), ("ext4", Status.WARNING), ("overlay", Status.WARNING)],
)
def test_secrets_are_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, status: Status
) -> None:
    """In a container /run may be on a disk; the first directory that exists is what counts."""
    monkeypatch.setattr(host, "file_system", lambda path: kind if path == tmp_path else "")
    conf = SimpleNamespace(nova_lite=SimpleNamespace(runtime_path=str(tmp_path / "no" / "such")))

    found = host.SECRETS.look(SimpleNamespace(conf=conf))

    assert found.status is status
    assert kind in found.message
