"""What every hypervisor driver promises of disks that move (drivers/hypervisor/base.py)."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound, GuestNotRunning, HypervisorError
from nova_lite.model.domain import DiskSpec, DomainSpec
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY, hypervisor, spec

__all__ = ["hypervisor", "spec"]

MIB = 1024**2
VOLUME = "5ab7e4d2-0000-4000-8000-0000000000a1"


def volume(directory: Path, content: bytes = b"", size: int = MIB) -> DiskSpec:
    path = directory / uuid.uuid4().hex
    path.write_bytes(content.ljust(size, b"\0"))
    return DiskSpec("vdb", "virtio", str(path), serial=VOLUME, alias=VOLUME)


@pytest.fixture
def old(tmp_path: Path) -> DiskSpec:
    """A volume with something on it."""
    return volume(tmp_path, os.urandom(65536))


@pytest.fixture
def new(tmp_path: Path) -> DiskSpec:
    return volume(tmp_path)


@pytest.fixture
def server(hypervisor: Hypervisor, spec: DomainSpec, old: DiskSpec) -> str:
    """A guest that runs with the volume."""
    hypervisor.define(replace(spec, disks=(*spec.disks, old)))
    hypervisor.start(spec.uuid)
    return spec.uuid


def places(hypervisor: Hypervisor, server: str) -> list[tuple[str, bool, bool]]:
    """Where the volume is, now and at the next start."""
    found = [disk for disk in hypervisor.disks(server) if disk.serial == VOLUME]
    return [(disk.source, disk.plugged, disk.defined) for disk in found]


def until_ready(hypervisor: Hypervisor, server: str) -> None:
    deadline = time.monotonic() + 60
    while not hypervisor.move_ready(server, VOLUME):
        assert time.monotonic() < deadline, "the copy does not become ready"
        time.sleep(0.05)


@pytest.mark.parametrize("paused", [False, True])
def test_a_moved_disk_is_the_same_elsewhere(
    hypervisor: Hypervisor, server: str, old: DiskSpec, new: DiskSpec, paused: bool
) -> None:
    """Same serial and content, for now and for the next start; every call may be repeated."""
    if paused:
        hypervisor.pause(server)
    before = hypervisor.power_state(server)
    hypervisor.begin_move(server, VOLUME, new)
    hypervisor.begin_move(server, VOLUME, new)
    until_ready(hypervisor, server)
    assert places(hypervisor, server) == [(old.source, True, True)]

    hypervisor.finish_move(server, VOLUME, new)
    hypervisor.finish_move(server, VOLUME, new)
    hypervisor.begin_move(server, VOLUME, new)

    assert places(hypervisor, server) == [(new.source, True, True)]
    assert hypervisor.power_state(server) == before
    with pytest.raises(HypervisorError):
        hypervisor.move_ready(server, VOLUME)
    hypervisor.destroy(server)
    assert Path(new.source).read_bytes() == Path(old.source).read_bytes()
    assert places(hypervisor, server) == [(new.source, False, True)]


def test_a_dropped_move_leaves_the_disk_where_it_is(
    hypervisor: Hypervisor, server: str, old: DiskSpec, new: DiskSpec
) -> None:
    """Also from where it goes elsewhere afterwards; dropping nothing succeeds."""
    hypervisor.begin_move(server, VOLUME, new)
    hypervisor.drop_move(server, VOLUME)
    hypervisor.drop_move(server, VOLUME)

    assert places(hypervisor, server) == [(old.source, True, True)]
    with pytest.raises(HypervisorError):
        hypervisor.move_ready(server, VOLUME)
    with pytest.raises(HypervisorError):
        hypervisor.finish_move(server, VOLUME, new)

    hypervisor.begin_move(server, VOLUME, new)
    until_ready(hypervisor, server)
    hypervisor.finish_move(server, VOLUME, new)
    assert places(hypervisor, server) == [(new.source, True, True)]


def test_a_move_ends_with_the_guests_power(
    hypervisor: Hypervisor, server: str, old: DiskSpec, new: DiskSpec
) -> None:
    """The disk is where it was."""
    hypervisor.begin_move(server, VOLUME, new)
    hypervisor.destroy(server)

    with pytest.raises(HypervisorError):
        hypervisor.move_ready(server, VOLUME)
    hypervisor.drop_move(server, VOLUME)
    assert places(hypervisor, server) == [(old.source, False, True)]
    with pytest.raises(GuestNotRunning):
        hypervisor.begin_move(server, VOLUME, new)


def test_what_cannot_be_moved_stays(
    hypervisor: Hypervisor, server: str, old: DiskSpec, new: DiskSpec, tmp_path: Path
) -> None:
    """A missing target, a second target, a missing disk, a missing guest."""
    with pytest.raises(HypervisorError):
        hypervisor.begin_move(server, VOLUME, replace(new, source=str(tmp_path / "none")))
    with pytest.raises(HypervisorError):
        hypervisor.begin_move(server, NOBODY, new)
    with pytest.raises(DomainNotFound):
        hypervisor.begin_move(NOBODY, VOLUME, new)
    hypervisor.drop_move(NOBODY, VOLUME)
    hypervisor.begin_move(server, VOLUME, new)
    with pytest.raises(HypervisorError):
        hypervisor.begin_move(server, VOLUME, volume(tmp_path))

    assert places(hypervisor, server) == [(old.source, True, True)]
