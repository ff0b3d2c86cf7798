"""Steps of the host that a running server has left: it runs on the other one, whatever else fails.

Nothing here can bring it back, so nothing that is only a nuisance on this host ends the operation:
that is logged, and the record of the server comes to name its host in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_lite.errors import (
    ControlPlaneUnavailable,
    HypervisorUnavailable,
    NetworkUnavailable,
    NovaLiteError,
    PeerUnavailable,
    ServerNotFound,
)
from nova_lite.inventory.claims import Role
from nova_lite.model.states import TaskState
from nova_lite.services import live_moves, live_places, live_ports, migrate_data, moves
from nova_lite.services.disk_files import directory, remove_directory
from nova_lite.services.interfaces import leave
from nova_lite.services.live_volumes import let_go
from nova_lite.services.move_ends import status
from nova_lite.services.notes import LiveNotes
from nova_lite.services.work import Interrupted, Signal, Work
from nova_lite.steps.base import Step
from nova_lite.steps.guest.domain import forget_variables, remove

LOG = logging.getLogger(__name__)

COMPLETED = "completed"
# Seconds for which the other host may not answer, before this one records that it has the server.
PATIENCE_S = 90.0
# Seconds for which something may be away that is needed to tidy up, or to switch ports.
INSIST_S = 60.0


class SwitchPorts(Step):
    """Let the ports be the other host's: until then its guest is not reached."""

    name = "switch_ports"

    def do(self) -> None:
        # The other host binds them, too, when it makes the server its own.
        _insist(self, lambda: live_ports.activate(self.work))


class FinishThere(Step):
    """Have the other host make the server its own. One that cannot be asked gets it all the same:
    then this host records that, and what is left to be done over there is done when its agent looks
    at its servers."""

    name = "finish_there"

    def done(self) -> bool:
        work = self.work
        try:
            work.reload()
        except ServerNotFound:
            return True
        return live_moves.is_there(work)

    def do(self) -> None:
        work, clock, pace = self.work, self.tools.clock, self.tools.pace
        deadline = clock.monotonic() + PATIENCE_S
        while True:
            try:
                self._ask()
                return
            except PeerUnavailable as error:
                LOG.warning("Host %s, where server %s runs, does not answer: %s",
                            live_moves.target(work), work.uuid, error)  # fmt: skip
            except ControlPlaneUnavailable:
                raise
            except NovaLiteError as error:
                LOG.error("Host %s has not finished the live migration of server %s: %s",
                          live_moves.target(work), work.uuid, error)  # fmt: skip
                work.note(live_unfinished=True)
                break
            if Signal.DRAIN in work.signals:
                raise Interrupted
            if self.done():
                return  # its answer got lost
            if clock.monotonic() >= deadline:
                break
            clock.sleep(pace.longest_retry)
        if not self.done():
            take_over(work)

    def _ask(self) -> None:
        work = self.work
        self.tools.peers.call(
            work.context,
            live_moves.target(work),
            "post_live_migration_at_destination",
            instance=work.instance,
            block_migration=bool(work.arguments.get("block_migration")),
        )


def take_over(work: Work) -> None:
    """Record that the other host has the server, unless its record says so: a server must not stay
    MIGRATING on a host that it has left.

    A server that is being deleted keeps its task state: it is deleted there.
    """
    tools = work.tools
    fields = live_moves.record_there(work, tools.nodes)
    task = work.instance.get("task_state")
    if task in moves.DELETING:
        fields["task_state"] = task
    tools.instances.save(
        work.context,
        work.instance,
        expected_task_state=[TaskState.MIGRATING, *moves.DELETING],
        **fields,
    )
    LOG.warning("The record of server %s names host %s by now, which could not be asked to finish "
                "the live migration", work.uuid, live_moves.target(work))  # fmt: skip


class ForgetGuest(Step):
    """See that this host has no guest of the server any more, and lets its host CPUs rest."""

    name = "forget_guest"

    def do(self) -> None:
        _insist(self, lambda: remove(self.work))
        _insist(self, lambda: forget_variables(self.work))
        _insist(self, self.tools.hypervisor.rest_cpus)


class UnplugLeft(Step):
    """Unplug the interfaces of the guest that has left."""

    name = "unplug_left"

    def do(self) -> None:
        _insist(self, lambda: leave(self.work))


class DisconnectLeft(Step):
    """Disconnect the volumes from this host, and delete its attachments."""

    name = "disconnect_left"

    def do(self) -> None:
        let_go(self.work)


class RemoveLeftFiles(Step):
    """Remove the server's files, unless the other host uses the same ones, or has lost the guest
    since: they may be all that there is of it."""

    name = "remove_left_files"

    def do(self) -> None:
        data = live_moves.data(self.work)
        if migrate_data.shares_directory(data):
            return
        _insist(self, lambda: self._remove(disks=not migrate_data.shares_disks(data)))

    def _remove(self, *, disks: bool) -> None:
        work, backend = self.work, self.tools.disks
        if LiveNotes.of(work.notes).live_unfinished and live_places.is_missing(work):
            LOG.error("Host %s has no guest of server %s any more, which had come there: its disks "
                      "as they were before stay in %s; remove them when they are not needed",
                      live_moves.target(work), work.uuid, directory(work))  # fmt: skip
            return
        if disks and not backend.shared:
            backend.remove_all(directory(work))
        remove_directory(work)


class RecordCompleted(Step):
    """Record that the move is over, and that this host has nothing of the server any more."""

    name = "record_completed"

    def done(self) -> bool:
        if status(self.work) != COMPLETED:
            return False
        self._release()
        return True

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.migrations.save(work.context, moves.migration(work), status=COMPLETED)
        self._release()

    def _release(self) -> None:
        work, tools = self.work, self.tools
        moves.drop_allocation(work)
        tools.claims.release(work.uuid, Role.CURRENT)
        tools.usage_changed()


def _insist(step: Step, action: Callable[[], None]) -> None:
    """Do something that the server can do without: for a while it is tried again, and in the end
    the rest goes on without it."""
    work, clock, pace = step.work, step.tools.clock, step.tools.pace
    deadline = clock.monotonic() + INSIST_S
    while True:
        try:
            action()
            return
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            away = isinstance(error, (HypervisorUnavailable, NetworkUnavailable))
            if not away or clock.monotonic() >= deadline:
                LOG.error("%s of server %s, which has left host %s, is not done: %s",
                          step.name, work.uuid, step.tools.host, error)  # fmt: skip
                return
        if Signal.DRAIN in work.signals:
            raise Interrupted
        clock.sleep(pace.first_retry)
