"""Steps of the host that has a running server, until it runs on the other one.

Everything can be taken back as long as the guest is here. Whether it is, the hypervisors of both
hosts say, not our memory.
"""

from __future__ import annotations

import itertools
import json
import logging

from nova_lite.drivers.disk.base import TransferCancelled
from nova_lite.errors import (
    HypervisorError,
    LiveMigrationFailed,
    NovaLiteError,
    UnexpectedTaskState,
    VifPlugTimeout,
)
from nova_lite.model.live_migration import MigrationPhase, MigrationProgress
from nova_lite.model.states import NOT_ON, PowerState, VmState
from nova_lite.services import (
    guest,
    live_disks,
    live_guest,
    live_moves,
    live_places,
    live_ports,
    live_tpm,
    migrate_data,
    moves,
)
from nova_lite.services.events import VIF_PLUGGED
from nova_lite.services.live_forecast import tell_outcome
from nova_lite.services.live_places import Where
from nova_lite.services.live_volumes import note_attachments, take_back
from nova_lite.services.live_watch import RUNNING, LiveWatch, was_cancelled
from nova_lite.services.notes import LiveNotes
from nova_lite.services.power_state import power_state
from nova_lite.services.volumes import volume_mappings
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.network.ports import LOOKS
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

QUEUED, PREPARING = "queued", "preparing"
# Seconds for which an agent that was killed waits for events that it may have missed.
MISSED_S = 15.0
# Seconds for events that may not come before the guest is there.
UNSURE_S = 5.0
OVS = "ovs"  # the vif_type of what OVN and the agent of Open vSwitch bind
RESUMES = 10  # attempts to bring a broken post-copy to its end


class CheckGoing(Step):
    """Refuse a server that is not here to be moved, before anybody does anything for it."""

    name = "check_going"

    def done(self) -> bool:
        """What the other host is prepared for was checked; by now the guest may be there."""
        return live_moves.is_prepared(self.work)

    def do(self) -> None:
        work = self.work
        if not live_moves.is_asked(work):
            raise UnexpectedTaskState(f"Server {work.uuid} does not wait to be moved any more")
        migrate_data.read(work.arguments["migrate_data"])
        live_guest.target_uri(work)
        if power_state(self.tools.hypervisor, work.uuid) in NOT_ON:
            raise LiveMigrationFailed(
                f"the guest of server {work.uuid} is off on host {self.tools.host}; start it, or "
                "migrate it without --live-migration"
            )


class AwaitTurn(Step):
    """Wait until few enough other servers leave this host."""

    name = "await_turn"

    def do(self) -> None:
        work, tools = self.work, self.tools
        if not tools.turns.is_free(work.uuid):
            tools.migrations.save(work.context, moves.migration(work), status=QUEUED)
            if not tools.turns.wait(work.uuid, work.cancelled):
                raise Interrupted
        work.note(live_turn=True)


class PrepareTarget(Step):
    """Have the other host prepare itself; who is asked twice answers the same.

    The undo lets it forget the server, and gives the volumes back to this host.
    """

    name = "prepare_target"

    def done(self) -> bool:
        return live_moves.is_prepared(self.work)

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.migrations.save(work.context, moves.migration(work), status=PREPARING)
        note_attachments(work)
        tools.events.watch(work.uuid)  # before anything over there makes Neutron send one
        data = live_moves.data(work)
        live_tpm.hand_over(work, data)
        told = tools.peers.call(
            work.context,
            live_moves.target(work),
            "pre_live_migration",
            instance=work.instance,
            disk=self._disks(),
            migrate_data=data,
        )
        live_moves.keep(work, migrate_data.read(told))
        if volume_mappings(work):
            work.mappings = None  # the other host has saved how it reaches the volumes

    def _disks(self) -> str | None:
        """The local disks, in JSON; None where they are not copied."""
        if not migrate_data.copies_disks(live_moves.data(self.work)):
            return None
        return json.dumps(live_disks.described(self.work))

    def undo(self) -> None:
        work = self.work
        take_back(work)
        data = live_moves.data(work)
        migrate_data.drop_tpm_secret(data)
        shared = migrate_data.shares_directory(data)
        if shared and self.tools.disks.shared:
            # A stock host may be told (``ensure_libvirt_rbd_instance_dir_cleanup``) to remove the
            # directory of a server with disks in Ceph, which is this host's, too.
            return
        try:
            self.tools.peers.cast(
                work.context,
                live_moves.target(work),
                "rollback_live_migration_at_destination",
                instance=work.instance,
                destroy_disks=not (shared or migrate_data.shares_disks(data)),
                migrate_data=data,
            )
        except NovaLiteError as error:
            LOG.warning("Host %s keeps what it has made for server %s until its agent looks: %s",
                        live_moves.target(work), work.uuid, error)  # fmt: skip


class SendDrive(Step):
    """Copy the config drive to a host that does not do so itself: one with nova-compute, which else
    would give the guest an empty one."""

    name = "send_drive"

    def do(self) -> None:
        if self.work.resumed and self.tools.hypervisor.migration(self.work.uuid).active:
            return  # the journal is an older agent's, which did not send any
        try:
            live_disks.send_drive(self.work)
        except TransferCancelled:
            raise Interrupted from None


def to_send_drive(work: Work) -> tuple[Step, ...]:
    """The stage with that step, for a server that has a config drive on this host alone."""
    return (SendDrive(work),) if live_disks.may_send_drive(work) else ()


class WaitForPlugs(Step):
    """Wait until Neutron says that the ports are wired up over there, where it will say that."""

    name = "wait_for_plugs"

    def do(self) -> None:
        work, tools = self.work, self.tools
        wanted = {vif.id for vif in guest.vifs(work)}
        data = live_moves.data(work)
        limit = float(tools.conf.vif_plugging_timeout)
        if wanted and limit and data.get("wait_for_vif_plugged", False):
            tools.events.watch(work.uuid)
            # An event that came while no agent ran does not come again.
            sure = not work.resumed and self._surely(data)
            least = MISSED_S if work.resumed else UNSURE_S
            missing = self._wait(wanted, limit if sure else min(limit, least))
            fatal = sure or self._failed(missing)
            if missing and (fatal or work.resumed):
                self._give_up(missing, fatal=fatal)
        tools.events.forget(work.uuid)

    def _surely(self, data: WireObject) -> bool:
        """Whether the ports can be wired up before the guest is there.

        What libvirt makes when the guest comes, OVN does not wire up before; the agent of Open
        vSwitch does. nova-compute of 2025.1 waits for neither.
        """
        other = live_moves.target(self.work)
        taps = live_moves.taps_before(self.work, other)
        return all(
            vif.hybrid or vif.made_before or (taps and vif.vif_type != OVS)
            for vif in live_moves.target_vifs(self.work, data, other)
        )

    def _wait(self, ports: set[str], limit: float) -> set[str]:
        work, clock = self.work, self.tools.clock
        deadline = clock.monotonic() + limit
        for pause in itertools.chain(LOOKS, itertools.repeat(LOOKS[-1])):
            left = deadline - clock.monotonic()
            ports = self.tools.events.wait(
                work.uuid, VIF_PLUGGED, ports, max(0.0, min(left, pause)), work.cancelled
            )
            if work.cancelled.is_set():
                raise Interrupted
            if not ports or left <= 0 or self._failed(ports):
                return ports
        raise AssertionError("the pauses have no end")

    def _failed(self, ports: set[str]) -> bool:
        status = self.tools.events.status
        return any(status(self.work.uuid, VIF_PLUGGED, port) == "failed" for port in ports)

    def _give_up(self, missing: set[str], *, fatal: bool) -> None:
        host, ports = live_moves.target(self.work), ", ".join(sorted(missing))
        if fatal and self.tools.conf.vif_plugging_is_fatal:
            raise VifPlugTimeout(
                f"Virtual Interface creation failed: Neutron did not report port {ports} as "
                f"plugged on host {host} within {self.tools.conf.vif_plugging_timeout} s; look at "
                "its agent there, or set [compute]live_migration_wait_for_vif_plug = false there"
            )
        LOG.warning("Server %s goes to host %s though port %s may not be wired up there",
                    self.work.uuid, host, ports)  # fmt: skip


class SendGuest(Step):
    """Have the hypervisor send the guest, and watch until it is at the end.

    The undo lets a guest go on that was held for the move.
    """

    name = "send_guest"
    exclusive = True

    def do(self) -> None:
        work = self.work
        where = live_places.settle(work, give_up=False) if self.repeated else Where.HERE
        progress: MigrationProgress | None = None
        resumed = 0
        while where is not Where.THERE:
            if where is Where.HERE and progress is not None:
                self._fail(progress)
            elif where is Where.HERE:
                self._begin()
            elif where is Where.BROKEN:
                if resumed == RESUMES:
                    LOG.error("Server %s has lost its memory between two hosts: it can only be "
                              "rebooted", work.uuid)  # fmt: skip
                    return
                resumed += 1
                self._resume()
            watch = LiveWatch(work, lambda: live_ports.activate(work))
            progress = watch.until_over()
            if progress.phase is MigrationPhase.COMPLETED:
                tell_outcome(work, progress, watch.bandwidth)
                return
            where = live_places.settle(work, give_up=False)

    def _begin(self) -> None:
        work, tools = self.work, self.tools
        record = moves.migration(work)
        if record.get("status") != RUNNING:
            tools.migrations.save(work.context, record, status=RUNNING)
        self._send()
        LOG.info("Server %s is sent to host %s", work.uuid, live_moves.target(work))

    def _resume(self) -> None:
        """Bring a migration to its end that was cut off when the guest ran over there already."""
        work, tools = self.work, self.tools
        LOG.warning("Server %s waits for its memory on host %s, which is sent again",
                    work.uuid, live_moves.target(work))  # fmt: skip
        tools.clock.sleep(tools.pace.longest_retry)
        self._send()

    def _send(self) -> None:
        work, tools = self.work, self.tools
        tools.guest_events.forget(work.uuid)  # those of its way to this host
        tools.hypervisor.migrate(work.uuid, live_guest.request(work))

    def _fail(self, progress: MigrationProgress) -> None:
        """
        :raises LiveMigrationFailed: the guest goes on here
        :raises Interrupted: somebody has ended it; the engine knows who
        """
        if self.work.cancelled.is_set():
            raise Interrupted
        why = progress.error or "its hypervisor does not say why"
        if was_cancelled(self.work):
            why = "it did not come to an end within [libvirt]live_migration_completion_timeout"
        raise LiveMigrationFailed(
            f"server {self.work.uuid} did not go to host {live_moves.target(self.work)}, and goes "
            f"on here: {why}"
        )

    def undo(self) -> None:
        release(self.work)


def release(work: Work) -> None:
    """Let a guest go on here that was held for the move, if it is to run."""
    hypervisor = work.tools.hypervisor
    if not LiveNotes.of(work.notes).live_held:
        return
    try:
        held = power_state(hypervisor, work.uuid) == PowerState.PAUSED
        if held and work.instance.get("vm_state") == VmState.ACTIVE:
            hypervisor.resume(work.uuid)
    except HypervisorError as error:
        LOG.error("Server %s was held for its move and stays so: %s", work.uuid, error)


def forget_target(work: Work) -> None:
    """Take back what the conductor and the check have done for the other host: bindings of the
    ports to it, and its claim. The rest does not depend on that."""
    target = live_moves.target(work)
    try:
        work.tools.ports.bindings.drop(work.context, live_ports.ids(work), target)
        work.tools.ports.announce_move(work.context, work.uuid, None)
    except NovaLiteError as error:
        LOG.error("Ports of server %s keep a binding to host %s: %s", work.uuid, target, error)
    if work.instance.get("numa_topology") or work.instance.get("migration_context"):
        moves.release_claim(work)


def has_arrived(work: Work) -> bool:
    """Whether the guest is on the other host: a migration that is under way is ended first.

    :raises Interrupted: the agent stops before that is clear
    """
    return live_places.settle(work, give_up=True) is Where.THERE
