"""Steps of the host that gives a server back."""

from __future__ import annotations

import logging

from nova_lite.errors import ControlPlaneUnavailable, MigrationError, PeerUnavailable
from nova_lite.inventory.claims import Role
from nova_lite.model.states import TaskState
from nova_lite.services import move_ends, moves
from nova_lite.services.disk_files import directory, remove_directory, remove_files
from nova_lite.services.notes import MoveNotes
from nova_lite.services.shared_storage import shared_with
from nova_lite.steps.base import Step
from nova_lite.wire.objects import unwrap

LOG = logging.getLogger(__name__)


class AskAboutFiles(Step):
    """Ask the host that is to get the server back whether it has the same files, before anything is
    touched; one that does not answer could not take it."""

    name = "ask_about_files"

    def done(self) -> bool:
        return MoveNotes.of(self.work.notes).files_shared is not None

    def do(self) -> None:
        work, host = self.work, move_ends.source(self.work)
        shared: bool | None = moves.stays_here(work)
        if not shared and directory(work).exists():
            shared = shared_with(work, host)
        if shared is None:
            raise MigrationError(
                f"host {host}, from which server {work.uuid} came, does not answer; revert the "
                "resize again when its compute agent runs"
            )
        work.note(files_shared=shared)


class RemoveCopy(Step):
    """Remove the server's files, unless the other host has the same ones and what it has kept of
    before beside them. Disks in a cluster are the other host's, too."""

    name = "remove_copy"

    def do(self) -> None:
        work = self.work
        if MoveNotes.of(work.notes).files_shared:
            return
        if self.tools.disks.shared:
            remove_directory(work)
        else:
            remove_files(work)


class RecordGivenBack(Step):
    """Record that this host has nothing of the server any more, and what it had before the move.

    The migration first, as in stock: it is what says that this host does not claim anything. The
    server only where that is another place on NUMA nodes: the other host does not go on with one
    that is being deleted.
    """

    name = "record_given_back"

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.migrations.save(work.context, moves.migration(work), status=move_ends.REVERTED)
        for role in (Role.CURRENT, Role.INCOMING):
            tools.claims.release(work.uuid, role)
        tools.usage_changed()
        context = work.instance.get("migration_context")
        if context is None:
            return
        before = context.get("old_numa_topology")
        if unwrap(before) != unwrap(work.instance.get("numa_topology")):
            tools.instances.save(
                work.context,
                work.instance,
                expected_task_state=[TaskState.RESIZE_REVERTING],
                task_state=TaskState.RESIZE_REVERTING,
                numa_topology=before,
            )


class ReturnToSource(Step):
    """Ask the host that had the server to start it again; a second message has no effect there.

    Nobody else could, so this does not give up while that host cannot be reached.
    """

    name = "return_to_source"

    def do(self) -> None:
        work, host = self.work, move_ends.source(self.work)
        try:
            self.tools.peers.cast(
                work.context,
                host,
                "finish_revert_resize",
                instance=work.instance,
                migration=moves.migration(work),
                request_spec=work.arguments.get("request_spec"),
            )
        except PeerUnavailable as error:
            raise ControlPlaneUnavailable(
                f"server {work.uuid} waits to go back to host {host}: {error.message}"
            ) from error
