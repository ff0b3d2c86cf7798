"""What every hypervisor driver promises about guests that are held, saved and restored."""

from __future__ import annotations

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound, GuestNotRunning
from nova_lite.model.domain import DomainSpec
from nova_lite.model.states import PowerState
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY, hypervisor, spec

__all__ = ["hypervisor", "spec"]

# For a guest that runs, or at least is there.
VERBS = ("pause", "resume", "save", "inject_nmi")


@pytest.fixture
def running(hypervisor: Hypervisor, spec: DomainSpec) -> str:
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    return spec.uuid


def test_a_guest_is_held_and_let_go(hypervisor: Hypervisor, running: str) -> None:
    """Paused is a state of its own, and asking twice changes nothing."""
    hypervisor.pause(running)
    hypervisor.pause(running)
    assert hypervisor.power_state(running) == PowerState.PAUSED

    hypervisor.resume(running)
    assert hypervisor.power_state(running) == PowerState.RUNNING


def test_memory_goes_to_the_disk_and_comes_back(hypervisor: Hypervisor, running: str) -> None:
    """A saved guest is off; restored it runs, and the saved memory is used up."""
    assert not hypervisor.saved(running)

    hypervisor.save(running)
    hypervisor.save(running)
    assert hypervisor.power_state(running) == PowerState.SHUTDOWN
    assert hypervisor.saved(running)

    hypervisor.restore(running)
    hypervisor.restore(running)
    assert hypervisor.power_state(running) == PowerState.RUNNING
    assert not hypervisor.saved(running)


def test_a_guest_that_was_paused_when_saved_runs_afterwards(
    hypervisor: Hypervisor, running: str
) -> None:
    """Restoring ends in a guest that runs, whatever was done to it before."""
    hypervisor.pause(running)
    hypervisor.save(running)

    hypervisor.restore(running)

    assert hypervisor.power_state(running) == PowerState.RUNNING


def test_starting_drops_saved_memory(hypervisor: Hypervisor, running: str) -> None:
    """A start boots: what is on the disk may have changed since the memory was saved."""
    hypervisor.save(running)

    hypervisor.start(running)

    assert hypervisor.power_state(running) == PowerState.RUNNING
    assert not hypervisor.saved(running)


def test_restoring_without_memory_boots(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """A suspended server whose memory got lost can still be resumed."""
    hypervisor.define(spec)

    hypervisor.restore(spec.uuid)

    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING


def test_a_guest_with_saved_memory_can_be_removed(hypervisor: Hypervisor, running: str) -> None:
    """Its memory goes with it: another guest of the same definition boots."""
    hypervisor.save(running)

    hypervisor.undefine(running)

    assert not hypervisor.defined(running)


def test_an_nmi_can_be_sent_to_a_running_guest(hypervisor: Hypervisor, running: str) -> None:
    """What the guest makes of it is its own affair; one without a system goes on."""
    hypervisor.inject_nmi(running)

    assert hypervisor.power_state(running) == PowerState.RUNNING


@pytest.mark.parametrize("verb", VERBS)
def test_a_guest_that_is_off_says_so(hypervisor: Hypervisor, spec: DomainSpec, verb: str) -> None:
    """The error is one that callers can tell from others."""
    hypervisor.define(spec)

    with pytest.raises(GuestNotRunning, match=spec.uuid):
        getattr(hypervisor, verb)(spec.uuid)


@pytest.mark.parametrize("verb", [*VERBS, "saved", "restore", "stats"])
def test_a_missing_guest_is_named(hypervisor: Hypervisor, verb: str) -> None:
    """As for all other requests."""
    with pytest.raises(DomainNotFound, match=NOBODY):
        getattr(hypervisor, verb)(NOBODY)


def test_counters_of_a_running_guest(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Every disk and processor is there, and memory is what the guest was given."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)

    stats = hypervisor.stats(spec.uuid)

    assert stats.state == PowerState.RUNNING
    assert (stats.max_memory_kib, stats.memory_kib) == (spec.memory_kib, spec.memory_kib)
    assert sorted(stats.cpu_ns) == [0]
    assert [disk.target for disk in stats.disks] == ["vda"]
    assert stats.memory["actual"] == spec.memory_kib
    assert stats.memory["rss"] > 0
