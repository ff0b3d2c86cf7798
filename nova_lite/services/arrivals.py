"""A server that comes to this host while it runs: by which migration, and what is here of it.

Until the guest runs here, the other host's record of the server is right and this host is only
prepared. What it has prepared as files has a mark with the migration and the request that it was
made for, so that a later attempt, or the message that gives up an earlier one, tells its own from
anything else that may be in the server's directory.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.errors import DiskError, MoveSuperseded, ServerBeingDeleted, ServerNotFound
from nova_lite.model.live_migration import GuestAt, Migrating
from nova_lite.model.states import TaskState
from nova_lite.services import move_ends, moves
from nova_lite.services.disk_files import directory, remove_rest, removed_name
from nova_lite.services.work import Interrupted, Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

LIVE = "live-migration"  # migration_type
MARK = ".arriving"


@dataclass(frozen=True)
class Mark:
    """What a directory was made for: uuid of the migration, id of the request."""

    migration: str
    request: str


# --- records ------------------------------------------------------------------------------------
def migration_to_here(work: Work) -> WireObject | None:
    """The migration by which the server comes to this host; None: none is under way."""
    found = work.tools.migrations.open_of_server(work.context.elevated(), work.uuid)
    if found is None or found.get("migration_type") != LIVE:
        return None
    return found if found.get("dest_compute") == work.tools.host else None


def require_coming(work: Work) -> WireObject:
    """Read the server's record again: it is another host's, and on its way to this one.

    :raises ServerBeingDeleted, ServerNotFound: it is not wanted any more
    :raises MoveSuperseded: it does not come any more
    """
    work.reload()
    if work.instance.get("task_state") in moves.DELETING:
        raise ServerBeingDeleted(f"Server {work.uuid} is being deleted")
    migration = migration_to_here(work)
    coming = work.instance.get("task_state") == TaskState.MIGRATING and not work.here
    if migration is None or not coming:
        raise MoveSuperseded(
            f"Server {work.uuid} is not on its way to host {work.tools.host} any more"
        )
    return migration


def is_given_up(work: Work) -> bool:
    """Whether the server's directory was made for a live migration that is over, and the server is
    another host's; by fresh records. Of a server that is here by now the mark is removed.

    :raises DiskError: it cannot be
    """
    found = marked(directory(work))
    if found is None:
        return False
    try:
        move_ends.look(work)
    except ServerNotFound:
        LOG.warning("%s was made for a live migration of a server that nobody knows: if no guest "
                    "uses it, remove it", directory(work))  # fmt: skip
        return False
    if work.here:
        unmark(work)
        return False
    migration = work.tools.migrations.find(work.context, found.migration)
    if migration is not None and move_ends.is_open(migration):
        return False
    if guest_here(work) is not None:
        LOG.warning("A live migration of server %s to this host is over, and its record leads to "
                    "another host, but a guest of it is here: if that host has its guest, remove "
                    "this one with virsh destroy and virsh undefine", work.uuid)  # fmt: skip
        return False
    return True


# --- the guest ----------------------------------------------------------------------------------
def guest_here(work: Work) -> GuestAt | None:
    """The guest on this host, arriving or arrived."""
    return work.tools.hypervisor.guest_at(None, work.uuid)


def await_rest(work: Work) -> GuestAt | None:
    """The guest on this host, as soon as it is not on its way any more; after
    ``Pace.arrival_patience`` it may still be.

    :raises Interrupted: nobody wants to wait any longer
    """
    clock, pace = work.tools.clock, work.tools.pace
    deadline = clock.monotonic() + pace.arrival_patience
    while True:
        found = guest_here(work)
        coming = found is not None and found.migrating == Migrating.ARRIVING
        if not coming or clock.monotonic() > deadline:
            return found
        if clock.wait(work.cancelled, pace.arrival_poll):
            raise Interrupted


# --- files --------------------------------------------------------------------------------------
def mark(work: Work, migration: WireObject) -> None:
    """Make the server's directory, for this migration; durable, and never there without its mark.

    :raises DiskError: it cannot be written
    """
    where = directory(work)
    text = json.dumps({"migration": str(migration["uuid"]), "request": work.context.request_id})
    try:
        if marked(where) is not None:
            _write_mark(where, text)
        else:
            remove_rest(where)
            # The name of what is being removed: whatever comes across it may end it.
            fresh = removed_name(where)
            durable.make_directory(fresh)
            _write_mark(fresh, text)
            os.rename(fresh, where)
        durable.sync(where.parent)  # also a name that it has got before the power failed
    except OSError as error:
        raise DiskError(f"cannot write to {where}: {error.strerror}") from error


def _write_mark(where: Path, text: str) -> None:
    with durable.made_whole(where / MARK) as part:
        part.write_text(text)


def marked(where: Path) -> Mark | None:
    """What a directory was made for; None: something else, or the server is here."""
    try:
        found = json.loads((where / MARK).read_text())
        return Mark(str(found["migration"]), str(found["request"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unmark(work: Work) -> None:
    """The directory is that of a server of this host."""
    where = directory(work)
    try:
        (where / MARK).unlink(missing_ok=True)
        if where.exists():
            durable.sync(where)
    except OSError as error:
        raise DiskError(f"cannot remove {where / MARK}: {error.strerror}") from error
