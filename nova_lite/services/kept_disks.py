"""What a server had on a host that it left, until its user keeps or reverts the move.

The directory of the server is renamed to ``<uuid>_resize`` there, as stock nova-compute has it, so
that each kind of agent can confirm or revert what the other one has begun. Where hosts share
instances_path, and where a server is resized on its host, ``<uuid>`` is the new place beside it.

Disks in a cluster stay where they are. There the host that gets the server takes a snapshot of the
root disk before it makes that larger (``keep_state``), as stock does: the old host may be a stock
one, which wants it for a revert; two of them would be one too many for a stock one that gets the
server.

Each function may be repeated, also by a process that does not know how far an earlier one came.
"""

from __future__ import annotations

import logging
from pathlib import Path

from nova_lite.drivers.disk.base import SnapshotBackend
from nova_lite.services.disk_files import ROOT, directory, remove_tree, removed_name, rename_tree
from nova_lite.services.notes import MoveNotes
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

SUFFIX = "_resize"
# Stock nova-compute looks for this snapshot.
SNAPSHOT = "nova-resize"


def kept_directory(work: Work) -> Path:
    """Where the server's old files are kept on this host."""
    where = directory(work)
    return where.with_name(where.name + SUFFIX)


def are_kept(work: Work) -> bool:
    """Whether files of the server are kept on this host, or some of them are left."""
    kept = kept_directory(work)
    return kept.exists() or removed_name(kept).exists()


def keep(work: Work) -> None:
    """Keep the server's files; its guest is off, and none of them is written any more.

    Afterwards there is no directory of the server: make it, if the new place is here or shared.
    What is kept of an earlier move that is over is removed first.

    :raises DiskError: they cannot be renamed
    """
    if MoveNotes.of(work.notes).files_kept:
        return
    where, kept = directory(work), kept_directory(work)
    if where.exists() and kept.exists():
        LOG.warning("Server %s has files of an earlier move in %s; they are removed",
                    work.uuid, kept)  # fmt: skip
        remove_tree(kept)
    rename_tree(where, kept)
    work.note(files_kept=True)


def take_back(work: Work) -> None:
    """Undo ``keep`` in the operation that called it, or was to: with what the new place has."""
    if MoveNotes.of(work.notes).files_kept or not directory(work).exists():
        _bring_back(work)


def restore(work: Work) -> None:
    """Make the server what it was before the move: its files, and its root disk in a cluster.

    Only for the move that it is kept for. Nobody else has the disks open any more. What is in the
    server's directory on this host is removed: it is the copy of the new place, where that is
    here, or shared.

    :raises DiskError: what is kept cannot be brought back; it stays as it is
    """
    _bring_back(work)
    disks, where = work.tools.disks, directory(work)
    if isinstance(disks, SnapshotBackend):
        disks.shut_out(where)  # a client that died may still have the disk open
        if disks.roll_back(where, ROOT, SNAPSHOT):
            disks.drop(where, ROOT, SNAPSHOT)


def discard(work: Work) -> None:
    """Remove what is kept of the server, for the move is confirmed, or the server deleted.

    :raises DiskError: it cannot be removed
    """
    remove_tree(kept_directory(work))
    disks = work.tools.disks
    if isinstance(disks, SnapshotBackend):
        disks.drop(directory(work), ROOT, SNAPSHOT)


def keep_state(work: Work) -> None:
    """Remember what the root disk in a cluster is, before a flavor makes it larger.

    For the host that gets the server, before the guest is started there. Does nothing where disks
    are files, or the server boots from a volume. A snapshot of an earlier move is not believed.
    """
    disks, where = work.tools.disks, directory(work)
    if MoveNotes.of(work.notes).state_kept or not isinstance(disks, SnapshotBackend):
        return
    if disks.exists(where, ROOT):
        disks.drop(where, ROOT, SNAPSHOT)
        disks.take(where, ROOT, SNAPSHOT, protected=False)
    work.note(state_kept=True)


def _bring_back(work: Work) -> None:
    where, kept = directory(work), kept_directory(work)
    if kept.exists():
        remove_tree(where)
        rename_tree(kept, where)
