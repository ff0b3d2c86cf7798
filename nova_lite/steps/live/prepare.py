"""Steps of the host that is to get a running server, before its guest begins to come.

All of them may be repeated, and all are taken back when one of them fails: the server runs on where
it is. What is taken back later, because the guest did not come, is in ``steps/live/give_up.py``.
"""

from __future__ import annotations

from nova_lite.errors import GuestIsHere
from nova_lite.inventory.claims import Role
from nova_lite.services import (
    arrivals,
    interfaces,
    live_disks,
    live_moves,
    live_ports,
    live_tpm,
    tpm,
)
from nova_lite.services.claiming import claim_and_note, rest_cpus
from nova_lite.services.groups import check_group_of_server
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import network_info
from nova_lite.wire.objects import WireObject


class ArrivalStep(Step):
    """A step about the migration that the server comes by.

    :param data: the LibvirtLiveMigrateData of the request
    :param migration: its Migration record; None where nothing is done any more, but undone
    """

    def __init__(self, work: Work, data: WireObject, migration: WireObject | None) -> None:
        super().__init__(work)
        self._data, self._migration = data, migration


class ClaimArriving(ArrivalStep):
    """Claim what the server will use here, where it was placed on NUMA nodes while it was checked;
    and look at its group again, for others may have come since."""

    name = "claim_arriving"

    def do(self) -> None:
        work = self.work
        context = work.instance.get("migration_context")
        placed = context.get("new_numa_topology") if context is not None else None
        claim_and_note(work, work.server, placed, placed=placed is not None, role=Role.INCOMING)
        check_group_of_server(work)
        if placed is not None:
            self.tools.hypervisor.wake_cpus()

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid, Role.INCOMING)
        rest_cpus(self.tools)


class MakeArrivingFiles(ArrivalStep):
    """Make the server's directory, and the disks that are to be copied, unless they are shared."""

    name = "make_arriving_files"

    def do(self) -> None:
        assert self._migration is not None, "without it nothing is begun"
        live_disks.make(self.work, self._data, self._migration)

    def undo(self) -> None:
        require_no_guest(self.work)
        live_disks.remove(self.work)


class PlugArriving(ArrivalStep):
    """Plug the interfaces by the bindings that the ports have for this host; the network cache
    stays that of the host that has the server."""

    name = "plug_arriving"

    def do(self) -> None:
        work = self.work
        assert self._migration is not None, "without it nothing is begun"
        source = str(self._migration["source_compute"])
        vifs = live_moves.target_vifs(work, self._data, source)
        for vif in vifs:
            self.tools.vif_driver.require(vif)
        work.note(vifs=network_info.dump(vifs))
        interfaces.plug(work)
        live_ports.announce(work, self.tools.host)

    def undo(self) -> None:
        require_no_guest(self.work)
        interfaces.leave(self.work)
        live_ports.announce(self.work, None)


class UnlockArriving(ArrivalStep):
    """Let the hypervisor have what opens the TPM of the guest, when it comes."""

    name = "unlock_arriving"

    def do(self) -> None:
        live_tpm.take_in(self.work, self._data)

    def undo(self) -> None:
        require_no_guest(self.work)
        tpm.leave(self.work)


def to_unlock(
    work: Work, data: WireObject, migration: WireObject | None
) -> tuple[ArrivalStep, ...]:
    """That step, for a server whose TPM has a key; for the arguments see ``ArrivalStep``."""
    return (UnlockArriving(work, data, migration),) if tpm.key_id(work) else ()


def require_no_guest(work: Work) -> None:
    """See that nothing is taken from a guest that goes on on this host.

    :raises GuestIsHere: there is one
    """
    found = arrivals.guest_here(work)
    if found is not None and found.goes_on:
        raise GuestIsHere(
            f"the guest of server {work.uuid} is on host {work.tools.host} "
            f"({found.power_state.name.lower()}) and keeps what it uses there"
        )
