"""What every hypervisor driver promises of snapshots of volumes that are files."""

from __future__ import annotations

import os
import subprocess
import time
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
BASE = f"volume-{VOLUME}"
CONTENT = os.urandom(65536)


@pytest.fixture
def server(hypervisor: Hypervisor, spec: DomainSpec, tmp_path: Path) -> str:
    """A guest that runs with a volume that is a raw file."""
    path = tmp_path / BASE
    path.write_bytes(CONTENT.ljust(MIB, b"\0"))
    disk = DiskSpec("vdb", "virtio", str(path), serial=VOLUME, alias=VOLUME)
    hypervisor.define(replace(spec, disks=(*spec.disks, disk)))
    hypervisor.start(spec.uuid)
    return spec.uuid


def overlay(directory: Path, name: str, backing: str, backing_format: str) -> str:
    """The file that Cinder makes for a snapshot: its base is named without a directory."""
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", backing_format, "-b", backing, name],
        check=True, cwd=directory,
    )  # fmt: skip
    return name


def chain(hypervisor: Hypervisor, server: str) -> list[str]:
    return [Path(path).name for path in hypervisor.disk_chain(server, VOLUME)]


def merged(hypervisor: Hypervisor, server: str, top: str | None, base: str | None) -> list[str]:
    hypervisor.begin_merge(server, VOLUME, top, base)
    deadline = time.monotonic() + 60
    while hypervisor.merging(server, VOLUME):
        assert time.monotonic() < deadline, "the files are not merged"
        time.sleep(0.05)
    return chain(hypervisor, server)


@pytest.fixture
def twice(hypervisor: Hypervisor, server: str, tmp_path: Path) -> str:
    """The same with two snapshots."""
    first = overlay(tmp_path, f"{BASE}.1", BASE, "raw")
    hypervisor.overlay_disk(server, VOLUME, first)
    hypervisor.overlay_disk(server, VOLUME, first)
    hypervisor.overlay_disk(server, VOLUME, overlay(tmp_path, f"{BASE}.2", first, "qcow2"))
    return server


def test_an_overlay_is_written_to_from_now_on(
    hypervisor: Hypervisor, twice: str, tmp_path: Path
) -> None:
    """Now and at the next start; other disks are left alone."""
    assert chain(hypervisor, twice) == [f"{BASE}.2", f"{BASE}.1", BASE]
    found = [disk for disk in hypervisor.disks(twice) if disk.serial == VOLUME]
    assert [(d.source, d.plugged, d.defined) for d in found] == [
        (str(tmp_path / f"{BASE}.2"), True, True)
    ]
    hypervisor.destroy(twice)
    hypervisor.start(twice)
    assert chain(hypervisor, twice)[0] == f"{BASE}.2"


def test_a_snapshot_is_merged_into_what_it_is_based_on(
    hypervisor: Hypervisor, twice: str
) -> None:
    """The one in the middle goes."""
    assert merged(hypervisor, twice, f"{BASE}.1", BASE) == [f"{BASE}.2", BASE]


@pytest.mark.parametrize("base", [BASE, None])
def test_what_lies_below_is_merged_into_the_file_in_use(
    hypervisor: Hypervisor, twice: str, base: str | None
) -> None:
    """Down to a file that stays, or everything."""
    wanted = [f"{BASE}.2", *([base] if base else [])]
    assert merged(hypervisor, twice, None, base) == wanted


def test_files_that_are_not_there_cannot_be_merged(hypervisor: Hypervisor, twice: str) -> None:
    """Nor those of a guest that is off, of another disk, or of no guest."""
    with pytest.raises(HypervisorError):
        hypervisor.begin_merge(twice, VOLUME, f"{BASE}.9", BASE)
    with pytest.raises(HypervisorError):
        hypervisor.begin_merge(twice, VOLUME, None, f"{BASE}.9")
    assert chain(hypervisor, twice) == [f"{BASE}.2", f"{BASE}.1", BASE]
    with pytest.raises(HypervisorError):
        hypervisor.overlay_disk(twice, NOBODY, f"{BASE}.3")
    with pytest.raises(DomainNotFound):
        hypervisor.overlay_disk(NOBODY, VOLUME, f"{BASE}.3")
    hypervisor.destroy(twice)
    with pytest.raises(GuestNotRunning):
        hypervisor.begin_merge(twice, VOLUME, f"{BASE}.1", BASE)
    assert not hypervisor.merging(twice, VOLUME)
