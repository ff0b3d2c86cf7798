"""Cold moves that were cut off: the host that had the server died while it sent it, and the server
is evacuated.

What the host that was to get it has of it by then is no disk of the server: it is a part of one, or
as old as the move. By its name alone it looks like shared storage, so the records and the files are
asked. Nobody is believed to have sent what a guest has run from (``console.log`` is never sent), or
what is older than the move; and what is not certain is refused and left alone, for where the
storage is shared it is the server's only disk.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nova_lite.errors import InvalidSharedStorage
from nova_lite.services import evacuations, kept_disks, move_ends, moves
from nova_lite.services.disk_files import Seen, directory, remove_rest, remove_tree
from nova_lite.services.ownership import EVACUATION
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Statuses of a migration whose server's disks may be on their way.
SENDING = ("pre-migrating", "migrating", "post-migrating")
CONSOLE = "console.log"  # of all that a host has of a server that runs, what no move sends
# Seconds by which the clocks of this host and of the database may differ.
SKEW_S = 60.0


def is_cut_off(record: WireObject) -> bool:
    """Whether a migration is one whose disks were on their way."""
    return record.get("migration_type") in move_ends.COLD and record.get("status") in SENDING


def make_way(work: Work, *, told_shared: bool) -> list[str]:
    """Remove what an evacuation finds here of a cold move that was cut off.

    One conductor call (MigrationList.get_by_filters), none where nothing says that there was one.

    :param told_shared: whether the request says that the disks are on shared storage
    :returns: uuids of the moves that are over with the evacuation, see :func:`end`
    :raises InvalidSharedStorage: it is not certain whose the files are that are here
    :raises DiskError: they cannot be removed
    """
    where = directory(work)
    remove_rest(where)
    kept = kept_disks.kept_directory(work).exists()
    moved = moves.OLD_VM_STATE in work.instance.get("system_metadata", {})
    if not (where.exists() or kept or moved):
        return []
    found = _others(work)
    if not work.tools.disks.shared:
        if kept:
            _refuse_kept(work, found)
        with Seen(where) as seen:
            if _was_sent(work, found):
                if told_shared:
                    raise _unclear(work, "the request says that it is shared")
                LOG.warning("Removing %s: it was sent for a move that did not come about", where)
                remove_tree(where, seen)
    return [str(record["uuid"]) for record in found if is_cut_off(record)]


def end(work: Work, record: WireObject) -> None:
    """Record that a move is over that an evacuation has overtaken, and give back what it holds."""
    LOG.info("Migration %s of server %s was cut off, and is over", record["uuid"], work.uuid)
    moves.drop_allocation(work, record)
    work.tools.migrations.save(work.context, record, status="error")


def _others(work: Work) -> list[WireObject]:
    """The server's migrations but this evacuation and those that came to nothing, oldest first."""
    own = evacuations.migration(work)
    return [
        record
        for record in work.tools.migrations.of_server(work.context, work.uuid)
        if record.get("migration_type") != EVACUATION
        or not (
            record.get("status") in move_ends.FAILED
            or (own is not None and record["uuid"] == own["uuid"])
        )
    ]


def _refuse_kept(work: Work, found: Sequence[WireObject]) -> None:
    """Refuse where the disks may be those that the dead host had kept under another name.

    :raises InvalidSharedStorage:
    """
    last = found[-1] if found else None
    if last is None or not is_cut_off(last):
        return
    # A fault has room for 255 characters.
    raise InvalidSharedStorage(
        f"Invalid state of instance files on shared storage: host {last['source_compute']} was "
        f"moving the server. If {kept_disks.kept_directory(work).name} of host {work.tools.host} "
        f"is shared, take off its {kept_disks.SUFFIX}, else remove it; then evacuate again"
    )


def _was_sent(work: Work, found: Sequence[WireObject]) -> bool:
    """Whether the server's directory here is what a move to this host has left.

    :raises InvalidSharedStorage: that is not certain
    """
    where, here = directory(work), work.tools.host
    ours = [m for m in found if here in (m.get("source_compute"), m.get("dest_compute"))]
    last = ours[-1] if ours else None
    if not where.exists() or last is None or not _came_to_nothing(last, here):
        return False
    begun = _moment(last.get("created_at"))
    if begun is not None and not all(_is_younger(path, begun) for path in _files(where)):
        return False
    if begun is None or last is not found[-1]:
        raise _unclear(work, f"the server has moved since migration {last['id']}")
    return True


def _came_to_nothing(record: WireObject, here: str) -> bool:
    return bool(
        record.get("migration_type") in move_ends.COLD
        and record.get("status") in (*SENDING, *move_ends.FAILED)
        and record.get("dest_compute") == here
        and record.get("source_compute") != here
    )


def _files(where: Path) -> Iterator[Path]:
    """All that is below a directory; no link is followed."""
    for home, directories, files in os.walk(where):
        yield from (Path(home, name) for name in (*directories, *files))


def _is_younger(path: Path, begun: float) -> bool:
    """Whether a file may have been sent by a move that began at a time of the epoch."""
    try:
        # Nobody can set the time of the last change of an inode.
        return path.name != CONSOLE and path.lstat().st_ctime >= begun - SKEW_S
    except FileNotFoundError:
        return True


def _moment(text: object) -> float | None:
    try:
        then = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=datetime.UTC)).timestamp()


def _unclear(work: Work, why: str) -> InvalidSharedStorage:
    return InvalidSharedStorage(
        f"Invalid state of instance files on shared storage: {directory(work).name} of host "
        f"{work.tools.host} may be the rest of a move, but {why}. If no other host has it, remove "
        "it; then evacuate again"
    )
