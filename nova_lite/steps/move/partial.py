"""The step that removes what has come to this host of a server whose move failed.

Its directory is removed only where all of this is so:

* this host has no guest of it;
* by its record it is another host's, and at rest: no migration of it is open, to whatever host, and
  it has no task state. A move to a third host may be writing to the directory, if that shares it;
* the last of its migrations from or to this host is a resize or a cold migration to this host, in
  ``error`` or ``failed``. What was left here by a move away is none of an arrival;
* the host that has the server answers that it does not have the same directory, and that it has
  disks of its own: one that has lost the mount of a shared directory has neither. An empty
  directory is nobody's disks.
"""

from __future__ import annotations

import logging

from nova_lite.errors import ServerNotFound
from nova_lite.services import move_ends
from nova_lite.services.disk_files import Seen, directory, remove_rest, remove_tree
from nova_lite.services.shared_storage import has_file, shared_with
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# The record of formats, which is beside all disks that are files: drivers/disk/info.py, and stock.
RECORD = "disk.info"


class RemovePartialFiles(Step):
    """Looks at everything each time: a message of a new move waits behind it in the server's queue,
    but one to another host does not."""

    name = "remove_partial_files"

    def do(self) -> None:
        work = self.work
        where = directory(work)
        remove_rest(where)
        if not where.exists():
            return
        with Seen(where) as seen:
            host = self._host_of_the_rest()
            if host is None or not (self._is_apart(host) and self._has_its_own(host)):
                return
            # The answer may have taken a minute.
            if self._host_of_the_rest() != host:
                return
            LOG.warning("A move of server %s to this host has failed, and it is still on host %s: "
                        "removing what was sent to %s", work.uuid, host, where)  # fmt: skip
            remove_tree(where, seen)

    def _is_apart(self, host: str) -> bool:
        """Whether the directory is this host's alone, as far as it concerns the server's host."""
        shared = shared_with(self.work, host)
        if shared is None:
            self._is_not_told(host)
        elif shared:
            LOG.info("%s is shared with host %s, which has server %s: it stays",
                     directory(self.work), host, self.work.uuid)  # fmt: skip
        return shared is False

    def _has_its_own(self, host: str) -> bool:
        """Whether nothing that is here can be the only copy."""
        if not any(directory(self.work).iterdir()):
            return True
        found = has_file(self.work, host, RECORD)
        if found is None:
            self._is_not_told(host)
        elif not found:
            self._stays(f"host {host}, which has the server, does not have its disks",
                        "see whether that host lacks a mount; if it has the disks, remove these"
                        )  # fmt: skip
        return bool(found)

    def _is_not_told(self, host: str) -> None:
        self._stays(
            f"host {host} does not tell what it has of it",
            f"it is looked at again when the agent of host {host} runs",
        )

    def _host_of_the_rest(self) -> str | None:
        """The host that has the server, by fresh records; None where they keep the directory."""
        obstacle = self._obstacle()
        if obstacle is None:
            return str(self.work.instance["host"])
        if self.work.here:
            LOG.debug("Server %s is this host's, and so is its directory", self.work.uuid)
        else:
            self._stays(*obstacle)
        return None

    def _obstacle(self) -> tuple[str, str] | None:
        """What keeps the directory here, and what to do about it."""
        work = self.work
        by_hand = "if no other host uses it, remove it"
        try:
            exists = move_ends.look(work)
        except ServerNotFound:
            return "nobody knows the server", by_hand
        if not exists:
            return "the server was deleted", by_hand
        if self.tools.hypervisor.defined(work.uuid):
            return "a guest of the server is here", (
                "if the server's host has its guest, and does not use the directory, remove this "
                "guest with virsh undefine, and the directory"
            )
        if not work.elsewhere:
            return "the server is on no host", by_hand
        migrations = self.tools.migrations.of_server(work.context, work.uuid)
        if work.instance.get("task_state") or any(map(move_ends.is_open, migrations)):
            return (
                "something is being done with the server",
                "it is looked at again when that is over",
            )
        if not self._has_failed(migrations):
            return (
                "the last move of the server from or to this host is not one that has failed on "
                "its way here",
                by_hand,
            )
        return None

    def _has_failed(self, migrations: list[WireObject]) -> bool:
        """Whether the last of them with this host at an end is a cold move to it that failed."""
        here = self.tools.host
        ours = [
            migration
            for migration in migrations
            if here in (migration.get("source_compute"), migration.get("dest_compute"))
        ]
        last = ours[-1] if ours else None
        return bool(
            last is not None
            and last.get("dest_compute") == here
            and last.get("source_compute") != here
            and last.get("status") in move_ends.FAILED
            and last.get("migration_type") in move_ends.COLD
        )

    def _stays(self, why: str, remedy: str) -> None:
        LOG.warning("A move of server %s to this host has failed, and %s is left alone, as %s: %s",
                    self.work.uuid, directory(self.work), why, remedy)  # fmt: skip
