"""A move that is confirmed or reverted: how far its records are, by a fresh look at them."""

from __future__ import annotations

from typing import Any

from nova_lite.conductor.migrations import OPEN
from nova_lite.errors import ServerNotFound
from nova_lite.services import moves
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

CONFIRMED, REVERTING, REVERTED, FINISHED = "confirmed", "reverting", "reverted", "finished"
# What nova-api asks to be confirmed: it calls without a change of the status before a delete.
CONFIRMABLE = (FINISHED, "confirming")
# A move that has not come about, by resize, cold migration, or anything else.
FAILED = ("error", "failed")
# migration_type of moves in which the host that has the server sends its disks, while it is off.
COLD = ("resize", "migration")


def status(work: Work) -> str | None:
    """The status of the request's migration; None where there is no such migration any more."""
    found = work.tools.migrations.find(work.context, str(moves.migration(work)["uuid"]))
    return str(found["status"]) if found is not None else None


def told_status(work: Work) -> str | None:
    """The same; as the message has it, whose sender has saved it, if that cannot be another one by
    now. The server's record was read just before: it is still about that migration.
    """
    record = moves.migration(work)
    if moves.is_late(work) or not moves.context_is_of(work, record):
        return status(work)
    return str(record.get("status"))


def is_open(migration: WireObject) -> bool:
    """Whether a host has still something to do for it."""
    return migration.get("status") in OPEN


def source(work: Work) -> str:
    """The host that had the server before the move."""
    return str(moves.migration(work)["source_compute"])


def look(work: Work) -> bool:
    """Read the server's record again; False: it was deleted, and this is how it was then.

    :raises ServerNotFound: the database has nothing of it any more
    """
    try:
        work.reload()
    except ServerNotFound:
        everything = work.context.elevated(read_deleted=True)
        work.instance = work.tools.instances.get(everything, work.uuid)
    return not work.instance.get("deleted")


def ended(work: Work, **more: str) -> dict[str, Any]:
    """Fields to save for a server whose move is over: nothing of it is remembered.

    :param more: items of its system_metadata
    """
    metadata = {**work.instance.get("system_metadata", {}), **more}
    metadata.pop(moves.OLD_VM_STATE, None)
    return {
        "system_metadata": metadata,
        "migration_context": None,
        **moves.flavors(work, old_flavor=None, new_flavor=None),
    }
