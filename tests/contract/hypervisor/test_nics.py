"""What every hypervisor driver promises of network cards that come and go (hypervisor/base.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DeviceDetachFailed, DomainNotFound, HypervisorError, NoFreeSlot
from nova_lite.model.domain import DomainSpec, NicSpec
from tests.contract.hypervisor.test_hypervisor_contract import MAC, NOBODY, hypervisor, spec
from tests.fakes.hypervisor import FakeHypervisor

__all__ = ["hypervisor", "spec"]

FIRST, SECOND = "tapcontract1", "tapcontract2"
THIRD = NicSpec(mac="52:54:00:12:34:57", plug="ethernet", target="tapcontract3")


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


def test_a_suspended_guest_gets_no_card(hypervisor: Hypervisor, guest: DomainSpec) -> None:
    """It would miss it, or find it, when it goes on."""
    hypervisor.start(guest.uuid)
    hypervisor.save(guest.uuid)
    with pytest.raises(HypervisorError, match="suspended"):
        hypervisor.attach_nic(guest.uuid, THIRD)

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]


@pytest.mark.parametrize("state", ["off", "running", "paused"])
def test_a_card_is_attached_for_good(
    hypervisor: Hypervisor, guest: DomainSpec, state: str
) -> None:
    """Once, however often it is asked for; the guest has it after its next start, too."""
    if state != "off":
        hypervisor.start(guest.uuid)
    if state == "paused":
        hypervisor.pause(guest.uuid)

    for _ in range(2):
        hypervisor.attach_nic(guest.uuid, THIRD)

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND, "tapcontract3"]
    hypervisor.destroy(guest.uuid)
    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND, "tapcontract3"]
    hypervisor.detach_nic(guest.uuid, THIRD.mac, "tapcontract3")
    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]


def test_the_same_address_on_another_tap_is_another_card(
    hypervisor: Hypervisor, guest: DomainSpec
) -> None:
    """Two networks may give one address."""
    hypervisor.attach_nic(guest.uuid, replace(THIRD, mac=MAC))

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND, "tapcontract3"]


def test_a_guest_without_a_free_place_stays_as_it_is(
    hypervisor: Hypervisor, guest: DomainSpec
) -> None:
    """The error says so; what was attached before stays."""
    hypervisor.start(guest.uuid)
    attached = 2
    with pytest.raises(NoFreeSlot, match="free PCI"):
        for number in range(40):
            mac, tap = f"52:54:00:12:35:{number:02x}", f"tapcontr{number}"
            hypervisor.attach_nic(guest.uuid, NicSpec(mac=mac, plug="ethernet", target=tap))
            attached += 1

    assert len(taps(hypervisor, guest.uuid)) == attached
    hypervisor.destroy(guest.uuid)
    assert len(taps(hypervisor, guest.uuid)) == attached


def test_a_paused_guest_is_not_asked_for_its_card(
    hypervisor: Hypervisor, guest: DomainSpec
) -> None:
    """Nobody waits for it in vain, and it does not let go later, when it is resumed."""
    hypervisor.start(guest.uuid)
    hypervisor.pause(guest.uuid)
    with pytest.raises(DeviceDetachFailed, match="paused"):
        hypervisor.detach_nic(guest.uuid, MAC, FIRST)
    hypervisor.detach_nic(guest.uuid, THIRD.mac, "tapcontract3")

    assert taps(hypervisor, guest.uuid) == [FIRST, SECOND]


def test_no_guest_gets_no_card(hypervisor: Hypervisor) -> None:
    """Whoever asks must know."""
    with pytest.raises(DomainNotFound):
        hypervisor.attach_nic(NOBODY, THIRD)
