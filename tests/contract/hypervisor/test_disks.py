"""What every hypervisor driver promises of disks that come and go (drivers/hypervisor/base.py).

The guests have no system: they run and never give a disk back. That one with a system does is
shown in ``tests/cloud``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DeviceDetachFailed, DomainNotFound, HypervisorError
from nova_lite.model.domain import DiskSpec, DomainSpec
from nova_lite.model.host import GuestDisk
from nova_lite.model.states import PowerState
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY, hypervisor, spec
from tests.fakes.hypervisor import FakeHypervisor

__all__ = ["hypervisor", "spec"]

MIB = 1024**2
VOLUME = "5ab7e4d2-0000-4000-8000-0000000000a1"


def volume(directory: Path, target: str = "vdb", serial: str = VOLUME) -> DiskSpec:
    """A disk with a file of its own."""
    path = directory / f"{serial}-{uuid.uuid4().hex[:4]}"
    with path.open("wb") as file:
        file.truncate(MIB)
    return DiskSpec(target, "virtio", str(path), serial=serial, alias=serial)


def disk(hypervisor: Hypervisor, server: str, serial: str = VOLUME) -> GuestDisk | None:
    return next((d for d in hypervisor.disks(server) if d.serial == serial), None)


@pytest.fixture(params=["off", "running", "paused"])
def guest(request: pytest.FixtureRequest, hypervisor: Hypervisor, spec: DomainSpec) -> DomainSpec:
    hypervisor.define(spec)
    if request.param != "off":
        hypervisor.start(spec.uuid, paused=request.param == "paused")
    return spec


@pytest.fixture
def stubborn(hypervisor: Hypervisor, spec: DomainSpec) -> DomainSpec:
    """A guest that keeps what it has."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    if isinstance(hypervisor, FakeHypervisor):
        hypervisor.stubborn.add(spec.uuid)
    return spec


def test_a_disk_is_attached_for_good(
    hypervisor: Hypervisor, guest: DomainSpec, tmp_path: Path
) -> None:
    """At once where the guest is on, and in its definition; asking twice changes nothing."""
    on = hypervisor.power_state(guest.uuid) != PowerState.SHUTDOWN
    new = volume(tmp_path)
    hypervisor.attach_disk(guest.uuid, new)
    hypervisor.attach_disk(guest.uuid, new)

    assert disk(hypervisor, guest.uuid) == GuestDisk("vdb", VOLUME, new.source, on, True)
    assert [d.target for d in hypervisor.disks(guest.uuid)] == ["vda", "vdb"]
    hypervisor.destroy(guest.uuid)
    hypervisor.start(guest.uuid)
    assert disk(hypervisor, guest.uuid) == GuestDisk("vdb", VOLUME, new.source, True, True)


def test_no_disk_takes_anothers_place(
    hypervisor: Hypervisor, guest: DomainSpec, tmp_path: Path
) -> None:
    """Neither its target nor its serial; the guest stays as it was."""
    first = volume(tmp_path)
    hypervisor.attach_disk(guest.uuid, first)
    before = hypervisor.disks(guest.uuid)
    for other in (volume(tmp_path, serial=NOBODY), replace(volume(tmp_path), target="vdc")):
        with pytest.raises(HypervisorError, match="another disk|but from"):
            hypervisor.attach_disk(guest.uuid, other)

    assert hypervisor.disks(guest.uuid) == before


def test_a_guest_that_is_off_loses_its_disk_at_once(
    hypervisor: Hypervisor, spec: DomainSpec, tmp_path: Path
) -> None:
    """Only that one, whatever names the others have; detaching twice is detaching once."""
    hypervisor.define(spec)
    hypervisor.attach_disk(spec.uuid, volume(tmp_path))
    hypervisor.attach_disk(spec.uuid, volume(tmp_path, "vdc", NOBODY))
    hypervisor.detach_disk(spec.uuid, VOLUME)
    hypervisor.detach_disk(spec.uuid, VOLUME)

    assert [d.serial for d in hypervisor.disks(spec.uuid)] == [None, NOBODY]
    hypervisor.detach_disk(NOBODY, VOLUME)


def test_a_guest_that_keeps_a_disk_keeps_it_for_good(
    hypervisor: Hypervisor, stubborn: DomainSpec, tmp_path: Path
) -> None:
    """What it has now and what it will have after its next start stay the same."""
    hypervisor.attach_disk(stubborn.uuid, volume(tmp_path))
    with pytest.raises(DeviceDetachFailed, match=VOLUME):
        hypervisor.detach_disk(stubborn.uuid, VOLUME)

    kept = disk(hypervisor, stubborn.uuid)
    assert kept is not None and kept.plugged and kept.defined
    hypervisor.destroy(stubborn.uuid)
    hypervisor.detach_disk(stubborn.uuid, VOLUME)
    assert disk(hypervisor, stubborn.uuid) is None


def test_a_suspended_guest_keeps_its_disks(
    hypervisor: Hypervisor, spec: DomainSpec, tmp_path: Path
) -> None:
    """Its memory knows them; and it can have no new ones."""
    hypervisor.define(spec)
    hypervisor.attach_disk(spec.uuid, volume(tmp_path))
    hypervisor.start(spec.uuid)
    hypervisor.save(spec.uuid)
    with pytest.raises(DeviceDetachFailed, match="suspended"):
        hypervisor.detach_disk(spec.uuid, VOLUME)
    with pytest.raises(HypervisorError, match="suspended"):
        hypervisor.attach_disk(spec.uuid, volume(tmp_path, "vdc", NOBODY))

    assert disk(hypervisor, spec.uuid) is not None
    hypervisor.restore(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING


def test_a_disk_is_resized_while_the_guest_runs(
    hypervisor: Hypervisor, spec: DomainSpec, tmp_path: Path
) -> None:
    """A guest that is off learns the size when it starts."""
    hypervisor.define(spec)
    new = volume(tmp_path)
    hypervisor.attach_disk(spec.uuid, new)
    hypervisor.resize_disk(spec.uuid, VOLUME, 2 * MIB)
    assert Path(new.source).stat().st_size == MIB

    hypervisor.start(spec.uuid)
    hypervisor.resize_disk(spec.uuid, VOLUME, 2 * MIB)
    hypervisor.resize_disk(spec.uuid, VOLUME, 2 * MIB)
    if not isinstance(hypervisor, FakeHypervisor):
        assert Path(new.source).stat().st_size == 2 * MIB
    with pytest.raises(HypervisorError, match=NOBODY):
        hypervisor.resize_disk(spec.uuid, NOBODY, MIB)


@pytest.fixture
def clean_secrets(hypervisor: Hypervisor) -> Iterator[None]:
    yield
    hypervisor.forget_secret(VOLUME)


@pytest.mark.usefixtures("clean_secrets")
def test_a_secret_is_kept_by_the_id_of_its_volume(hypervisor: Hypervisor) -> None:
    """Giving it anew keeps its uuid; dropping it twice is dropping it once."""
    assert hypervisor.secret(VOLUME) is None
    first = hypervisor.set_secret(VOLUME, "0" * 64)

    assert hypervisor.set_secret(VOLUME, "1" * 64) == first == hypervisor.secret(VOLUME)
    hypervisor.forget_secret(VOLUME)
    hypervisor.forget_secret(VOLUME)
    assert hypervisor.secret(VOLUME) is None


@pytest.mark.parametrize("method", ["disks", "attach_disk", "resize_disk"])
def test_a_guest_that_is_missing_is_named(
    hypervisor: Hypervisor, tmp_path: Path, method: str
) -> None:
    """Except where there is nothing to do then."""
    arguments = {"attach_disk": (volume(tmp_path),), "resize_disk": (VOLUME, MIB)}
    with pytest.raises(DomainNotFound, match=NOBODY):
        getattr(hypervisor, method)(NOBODY, *arguments.get(method, ()))
