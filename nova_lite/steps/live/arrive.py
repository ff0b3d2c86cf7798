"""Steps of the host that a running server has come to: from its guest to its record, its ports and
its definition. The guest is the truth: nothing here is taken back, and nothing touches it."""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import (
    GuestDidNotArrive,
    HypervisorUnavailable,
    NovaLiteError,
    ServerBeingDeleted,
)
from nova_lite.model.live_migration import Migrating
from nova_lite.model.states import NOT_ON, TaskState, VmState
from nova_lite.services import arrivals, guest, live_ports, live_tpm
from nova_lite.services.claiming import claim, rest_cpus
from nova_lite.services.definable import refuse_to_replace
from nova_lite.services.interfaces import lost_vifs
from nova_lite.services.notes import ArrivalNotes
from nova_lite.services.power_state import power_state
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.network.binding import note_ports
from nova_lite.steps.records.server import moved_here, tell_host

LOG = logging.getLogger(__name__)


class FindArrived(Step):
    """See that the guest is here. One that has died since is here, too, and off: the other host has
    none any more."""

    name = "find_arrived"

    def do(self) -> None:
        work, tools = self.work, self.tools
        found = arrivals.await_rest(work)
        if found is None or found.migrating == Migrating.ARRIVING:
            raise GuestDidNotArrive(
                f"the guest of server {work.uuid} is not on host {tools.host}, to which it is said "
                "to have gone; look where it is, with virsh list --all on both hosts"
            )
        if found.migrating == Migrating.UNDECIDED:
            self._let_go_on()
        if found.migrating == Migrating.BROKEN:
            LOG.error("The memory of server %s was lost on its way: it can only boot anew",
                      work.uuid)  # fmt: skip
            tools.hypervisor.destroy(work.uuid)
        lost = found.power_state in NOT_ON or found.migrating == Migrating.BROKEN
        work.note(arrived=not lost)

    def _let_go_on(self) -> None:
        """The other host has lost its guest, and died before it could say so: all of it is here,
        held, or libvirt would have dropped it."""
        work = self.work
        if work.instance.get("vm_state") == VmState.PAUSED:
            return
        LOG.warning("The guest of server %s was held at the end of its way here: it goes on",
                    work.uuid)  # fmt: skip
        self.tools.hypervisor.resume(work.uuid)


class RecordArrived(Step):
    """Save this host as the server's, and no task state: in one save, which is a compare-and-swap.

    A server that is being deleted is this host's as well, which then removes its guest
    (``loops/strays.py``).
    """

    name = "record_arrived"

    def done(self) -> bool:
        self.work.reload()
        if self.work.here:
            self._account()
        return self.work.here

    def do(self) -> None:
        work, tools = self.work, self.tools
        fields = {**moved_here(work), "progress": 0, "migration_context": None}
        context = work.instance.get("migration_context")
        if context is not None:
            fields["numa_topology"] = context.get("new_numa_topology")
        power = power_state(tools.hypervisor, work.uuid)
        stopped: dict[str, Any] = {}
        if ArrivalNotes.of(work.notes).arrived is False:
            stopped["vm_state"] = VmState.STOPPED
        try:
            tools.instances.save(
                work.context,
                work.instance,
                expected_task_state=[TaskState.MIGRATING],
                task_state=None,
                power_state=int(power),
                **stopped,
                **fields,
            )
        except ServerBeingDeleted:
            LOG.info("Server %s is being deleted, and its guest has come here", work.uuid)
            work.reload()
            tools.instances.save(
                work.context, work.instance, expected_task_state=[TaskState.DELETING], **fields
            )
        work.decode_again()
        self._account()

    def _account(self) -> None:
        work = self.work
        self.tools.claims.arrive(work.uuid, stayed=False)
        claim(work, work.server, work.instance.get("numa_topology"), placed=True)
        tell_host(work, work.instance["vm_state"])


class BindArrived(Step):
    """See that the ports are bound to this host, save the network cache with their bindings, and
    delete those of the host that the server has left.

    The other host has switched them when the guest began to run here; where it could not, this is
    when they get their traffic.
    """

    name = "bind_arrived"

    def do(self) -> None:
        work, tools = self.work, self.tools
        known = [*guest.vifs(work), *lost_vifs(work)]
        ids = [vif.id for vif in known]
        tools.ports.bindings.activate(work.context, ids, tools.host)
        vifs = tools.ports.bind(work.context, work.server, known, tools.host)
        note_ports(work, known, vifs, keep_lost=True)
        source = ArrivalNotes.of(work.notes).left_host
        if source is not None:
            live_ports.drop(work, ids, source)
        live_ports.announce(work, None)


class AnnounceArrived(Step):
    """Let the guest announce itself once more, now that its ports are this host's.

    It is for switches that have missed what QEMU sent when the guest went on. What
    fails of it is only logged, as in stock.
    """

    name = "announce_arrived"

    def do(self) -> None:
        work, options = self.work, self.tools.conf.workarounds
        if ArrivalNotes.of(work.notes).arrived is False:
            return  # it is off
        pause = float(options.qemu_monitor_announce_self_interval)
        for number in range(options.qemu_monitor_announce_self_count):
            if number and self.tools.clock.wait(work.cancelled, pause):
                return  # it has, once
            try:
                self.tools.hypervisor.announce(work.uuid)
            except NovaLiteError as error:
                LOG.warning("Server %s has not announced itself here: %s", work.uuid, error)


def to_announce(work: Work) -> tuple[Step, ...]:
    """The stage with that step, on a host whose options ask for it."""
    wanted = work.tools.conf.workarounds.enable_qemu_monitor_announce_self
    return (AnnounceArrived(work),) if wanted else ()


class DefineArrived(Step):
    """Let the guest's next start be as this host would have it; what it is now stays.

    libvirt has defined it already as it has come, so that a guest which this agent cannot define
    loses nothing.
    """

    name = "define_arrived"

    def do(self) -> None:
        work, hypervisor = self.work, self.tools.hypervisor
        try:
            refuse_to_replace(hypervisor, work.uuid)
            spec, _ = guest.wanted_guest(work)
            hypervisor.define(spec)
        except HypervisorUnavailable:
            raise
        except NovaLiteError as error:
            LOG.error("Server %s starts the next time as it was defined on the other host: %s",
                      work.uuid, error)  # fmt: skip


class SettleArrived(Step):
    """The server's directory is that of a server of this host, host CPUs that nobody is pinned to
    rest, and what only an arrival needs to open a TPM is forgotten."""

    name = "settle_arrived"

    def do(self) -> None:
        arrivals.unmark(self.work)
        live_tpm.has_come(self.work)
        rest_cpus(self.tools)
        self.tools.usage_changed()
