"""What every hypervisor driver promises of copies of disks in use (drivers/hypervisor/base.py)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound, HypervisorError
from nova_lite.model.domain import DomainSpec
from nova_lite.model.states import PowerState
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY, hypervisor, spec

__all__ = ["hypervisor", "spec"]


@pytest.fixture
def disk(hypervisor: Hypervisor, spec: DomainSpec) -> Path:
    """The disk of a guest that runs, with something on it."""
    path = Path(spec.disks[0].source)
    with open(path, "r+b") as file:
        file.write(os.urandom(65536))
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    return path


def until_ready(hypervisor: Hypervisor, uuid: str, disk: Path) -> None:
    deadline = time.monotonic() + 60
    while not hypervisor.mirror_ready(uuid, disk):
        assert time.monotonic() < deadline, "the copy does not become ready"
        time.sleep(0.05)


@pytest.mark.parametrize("paused", [False, True])
def test_a_finished_copy_is_the_disk(
    hypervisor: Hypervisor, spec: DomainSpec, disk: Path, tmp_path: Path, paused: bool
) -> None:
    """Beside a guest that runs or is held, which goes on as before."""
    if paused:
        hypervisor.pause(spec.uuid)
    before = hypervisor.power_state(spec.uuid)
    target = tmp_path / "copy"
    hypervisor.mirror_disk(spec.uuid, disk, target, "raw")
    hypervisor.mirror_disk(spec.uuid, disk, target, "raw")
    until_ready(hypervisor, spec.uuid, disk)
    hypervisor.finish_mirror(spec.uuid, disk)

    assert target.read_bytes() == disk.read_bytes()
    assert hypervisor.power_state(spec.uuid) == before
    with pytest.raises(HypervisorError):
        hypervisor.finish_mirror(spec.uuid, disk)


def test_a_dropped_copy_can_be_begun_anew(
    hypervisor: Hypervisor, spec: DomainSpec, disk: Path, tmp_path: Path
) -> None:
    """Dropping may be repeated; the file is the caller's."""
    target = tmp_path / "copy"
    hypervisor.mirror_disk(spec.uuid, disk, target, "raw")
    hypervisor.drop_mirror(spec.uuid, disk)
    hypervisor.drop_mirror(spec.uuid, disk)
    with pytest.raises(HypervisorError):
        hypervisor.mirror_ready(spec.uuid, disk)

    target.unlink()
    hypervisor.mirror_disk(spec.uuid, disk, target, "raw")
    until_ready(hypervisor, spec.uuid, disk)
    hypervisor.drop_mirror(spec.uuid, disk)


def test_a_copy_ends_with_the_guests_power(
    hypervisor: Hypervisor, spec: DomainSpec, disk: Path, tmp_path: Path
) -> None:
    """Whoever waits for it learns that; dropping what is gone succeeds."""
    hypervisor.mirror_disk(spec.uuid, disk, tmp_path / "copy", "raw")
    hypervisor.destroy(spec.uuid)
    with pytest.raises(HypervisorError):
        hypervisor.mirror_ready(spec.uuid, disk)
    hypervisor.drop_mirror(spec.uuid, disk)

    assert hypervisor.power_state(spec.uuid) == PowerState.SHUTDOWN
    with pytest.raises(HypervisorError):
        hypervisor.mirror_disk(spec.uuid, disk, tmp_path / "another", "raw")


def test_a_guest_that_is_missing_is_named(hypervisor: Hypervisor, tmp_path: Path) -> None:
    """Except where there is nothing to do then."""
    with pytest.raises(DomainNotFound, match=NOBODY):
        hypervisor.mirror_disk(NOBODY, tmp_path / "disk", tmp_path / "copy", "raw")
    with pytest.raises(DomainNotFound, match=NOBODY):
        hypervisor.mirror_ready(NOBODY, tmp_path / "disk")
    hypervisor.drop_mirror(NOBODY, tmp_path / "disk")
