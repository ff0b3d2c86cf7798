from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg

from nova_lite.drivers.vif import drivers, ovsdb
from nova_lite.inventory.disk import DiskSpace
from nova_lite.preflight import host
from nova_lite.preflight.base import Status
from tests.fakes.entry_points import declared
from tests.fakes.ovsdb import FakeOvs


@pytest.fixture
def ovs(tmp_path: Path) -> Iterator[FakeOvs]:
    switch = FakeOvs(tmp_path)
    yield switch
    switch.close()


def env(where: str) -> Any:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("ovs_bridge", default="br-int")], group="neutron")
    conf.register_opts([cfg.StrOpt("ovsdb_connection", default=where)], group="os_vif_ovs")
    conf([], default_config_files=[])
    return SimpleNamespace(conf=conf)


@pytest.mark.parametrize(
    ("bridges", "obeys", "said", "status", "says"),
    [
        (["br-ex", "br-int"], True, b"", Status.OK, "br-int exists (datapath netdev)"),
        (["br-ex"], True, b"", Status.FAILURE, "has no bridge br-int"),
        (["br-int"], False, b"", Status.FAILURE, "ovs-vswitchd does not answer"),
        ([], True, b'{"id": 0, "error": "x", "result": null}', Status.FAILURE, "unexpected answer"),
        ([], True, b'{"id": 0, "err', Status.FAILURE, "connection closed"),
    ],
)
def test_ovs_needs_its_daemons_and_the_integration_bridge(
    monkeypatch: pytest.MonkeyPatch, ovs: FakeOvs, bridges: list[str], obeys: bool, said: bytes,
    status: Status, says: str,
) -> None:  # fmt: skip
    """Both are asked in their own protocol; no command-line tool is needed."""
    monkeypatch.setattr(ovsdb, "ANSWER_S", 0.2)
    for bridge in bridges:
        ovs.bridge(bridge)
    ovs.obeys, ovs.said = obeys, said

    found = host.OVS.look(env(ovs.where))

    assert found.status is status
    assert says in found.message


def test_a_silent_ovsdb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and says nothing."""
    monkeypatch.setattr(ovsdb, "ANSWER_S", 0.1)
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
    ("drive_format", "there", "forced", "status", "says"),
    [
        ("iso9660", {"xorrisofs"}, True, Status.OK, "iso9660 by xorrisofs"),
        ("iso9660", {"mcopy"}, False, Status.WARNING, "not installed: xorrisofs"),
        ("iso9660", set(), True, Status.FAILURE, "every server gets a config drive"),
        ("vfat", {"mcopy"}, False, Status.WARNING, "not installed: mkfs.vfat"),
        ("vfat", {"mcopy", "mkfs.vfat"}, False, Status.OK, "vfat by mkfs.vfat, mcopy"),
    ],
)
def test_programs_for_config_drives(
    monkeypatch: pytest.MonkeyPatch, drive_format: str, there: set[str], forced: bool,
    status: Status, says: str,
) -> None:  # fmt: skip
    """Those of the format that nova.conf has; without, only servers without a drive are built."""
    monkeypatch.setattr(host.shutil, "which", lambda name: name if name in there else None)
    conf = SimpleNamespace(
        config_drive_format=drive_format, mkisofs_cmd="xorrisofs", force_config_drive=forced
    )

    found = host.DRIVE.look(SimpleNamespace(conf=conf))

    assert (found.status, says in found.message) == (status, True), found


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


def test_vif_drivers_are_loaded_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks something is named with its entry point; the others are listed."""
    own = declared("nova_lite.vif")
    monkeypatch.setattr(drivers, "installed", lambda: tuple(own))
    found = host.VIF_DRIVERS.look(SimpleNamespace(conf=None))
    assert found.status is Status.OK
    assert "drivers for bridge, hostdev_physical.direct-physical, hw_veb.direct" in found.message

    broken = EntryPoint("martian", "nowhere:Vifs", "nova_lite.vif")
    monkeypatch.setattr(drivers, "installed", lambda: (*own, broken))
    found = host.VIF_DRIVERS.look(SimpleNamespace(conf=None))
    assert found.status is Status.FAILURE
    assert "martian = nowhere:Vifs (entry points nova_lite.vif)" in found.message
    assert "No module named 'nowhere'" in found.message
