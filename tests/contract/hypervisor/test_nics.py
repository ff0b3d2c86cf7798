"""What every hypervisor driver promises of network cards that go (drivers/hypervisor/base.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DeviceDetachFailed
from nova_lite.model.domain import DomainSpec, NicSpec
from tests.contract.hypervisor.test_hypervisor_contract import MAC, NOBODY, hypervisor, spec
from tests.fakes.hypervisor import FakeHypervisor

__all__ = ["hypervisor", "spec"]

FIRST, SECOND = "tapcontract1", "tapcontract2"


@pytest.fixture
def guest(hypervisor: Hypervisor, spec: DomainSpec) -> DomainSpec:
    """Two cards with one MAC address, on two networks."""
    nics = tuple(NicSpec(mac=MAC, plug="ethernet", target=tap) for tap in (FIRST, SECOND))
    hypervisor.define(replace(spec, nics=nics))
    return spec


def taps(hypervisor: Hypervisor, server: str) -> list[str]:
    return [device for _, device in hypervisor.taps(server)]


def test_a_guest_that_is_off_loses_the_card_at_once(
    hypervisor: Hypervisor, guest: DomainSpec
) -> None:
    """Only the one on that tap; detaching twice is detaching once, and nobody has none."""
    for mac in (MAC, MAC.upper()):
        hypervisor.detach_nic(guest.uuid, mac, SECOND)

    assert taps(hypervisor, guest.uuid) == [FIRST]
    hypervisor.detach_nic(NOBODY, MAC, FIRST)


def test_a_guest_that_keeps_its_card_keeps_it_for_good(
    hypervisor: Hypervisor, guest: DomainSpec
) -> None:
    """What it has now and what it will have after its next start stay the same."""
    hypervisor.start(guest.uuid)
    if isinstance(hypervisor, FakeHypervisor):
        hypervisor.stubborn.add(guest.uuid)
    with pytest.raises(DeviceDetachFailed, match=MAC):
        hypervisor.detach_nic(guest.uuid, MAC, FIRST)

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]
    hypervisor.destroy(guest.uuid)
    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]
    hypervisor.detach_nic(guest.uuid, MAC, FIRST)
    assert taps(hypervisor, guest.uuid) == [SECOND]


def test_a_suspended_guest_keeps_its_cards(hypervisor: Hypervisor, guest: DomainSpec) -> None:
    """Its memory knows them."""
    hypervisor.start(guest.uuid)
    hypervisor.save(guest.uuid)
    with pytest.raises(DeviceDetachFailed, match="suspended"):
        hypervisor.detach_nic(guest.uuid, MAC, FIRST)

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]
