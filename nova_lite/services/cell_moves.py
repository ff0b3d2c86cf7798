"""A server that moves to a host in another cell: what its records say, and who waits for whom.

The databases of both cells have a record of the server, one of which is hidden from users, and of
its migration. nova-conductor copies them and calls the two hosts in turn; each knows its own cell's
records only, and they never talk to each other. The record of the old cell names the old host all
the time.

nova-conductor does not ask twice. When a host has died in the middle, so that no answer comes, or
when that takes too long ([DEFAULT]long_rpc_timeout), it takes the move back: the record of the new
cell is deleted altogether, with its migration and its volumes, and that of the old one loses its
task state. Facts of nova/conductor/tasks/cross_cell_migrate.py (2025.1 to 2026.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nova_lite.errors import (
    AnswerLost,
    ControlPlaneUnavailable,
    MigrationPreCheckFailed,
    MoveSuperseded,
    NetworkUnavailable,
    NovaLiteError,
    ServerNotFound,
    Verdict,
)
from nova_lite.model.states import TaskState, VmState
from nova_lite.services import move_ends, moves, shares, tpm
from nova_lite.services.work import Interrupted, Work

# What is waited for, or what the other side knows by its own name.
_AS_IT_IS = (ControlPlaneUnavailable, NetworkUnavailable)


def require(work: Work, task: str, *statuses: str) -> None:
    """See that the server waits for what the request asks of its move.

    :param task: the task state in which it waits
    :param statuses: of the migration
    :raises MoveSuperseded: it does not: the message comes late, or a second time
    """
    status = move_ends.status(work)
    moves.reload(work)
    found = work.instance.get("task_state")
    if found != task or status not in statuses:
        raise superseded(work, f"the server is in task state {found}, the migration {status}")


def superseded(work: Work, reason: str) -> MoveSuperseded:
    """The error of a message about a move that is over, or has gone on."""
    uuid = moves.migration(work)["uuid"]
    return MoveSuperseded(
        f"Migration {uuid} of server {work.uuid} does not wait for host {work.tools.host}: {reason}"
    )


def refuse_resumed(work: Work) -> None:
    """Refuse to go on with what an earlier process began: its caller has not got an answer, and
    takes the move back.

    :raises AnswerLost: always, in a process that resumes
    """
    if work.resumed:
        raise AnswerLost(
            f"the compute agent of host {work.tools.host} was stopped while nova-conductor waited "
            f"for it: the move of server {work.uuid} is taken back; ask for it again"
        )


@contextmanager
def pre_check(work: Work) -> Iterator[None]:
    """Report what this host refuses as nova-conductor expects it of one that cannot have a server.

    :raises MigrationPreCheckFailed: in place of other errors
    """
    try:
        yield
    except _AS_IT_IS:
        raise
    except NovaLiteError as error:
        if error.verdict is Verdict.GONE or isinstance(error, MigrationPreCheckFailed):
            raise
        raise MigrationPreCheckFailed(work.tools.host, error.message) from error


def refuse_unmovable(work: Work) -> None:
    """Refuse a server that has something that an image of its root disk does not bring along.

    :raises MigrationPreCheckFailed: it has
    """
    reason = None
    if tpm.wanted(work):
        reason = "the state of its emulated TPM cannot be brought to another cell"
    elif shares.possible(work) and shares.mappings(work):
        reason = "its shares cannot be mounted in another cell; detach them first"
    if reason is not None:
        raise MigrationPreCheckFailed(work.tools.host, f"server {work.uuid}: {reason}")


def is_kept(work: Work) -> bool:
    """Whether nova-conductor has taken over a server that this host has recorded as RESIZED.

    It makes the record visible then, or deletes it when it has given up. Where it has done neither
    yet this waits a while; then the server is kept: nova-conductor itself has been stopped.
    """

    def look() -> bool | None:
        try:
            work.reload()
        except ServerNotFound:
            return False
        if not is_finished(work):
            return False
        return None if work.instance.get("hidden") else True

    return _wait(work, look, otherwise=True)


def is_going_back(work: Work) -> bool:
    """Whether nova-conductor has begun to bring a server that is to be reverted back to its old
    cell, by the record of its new one: from then on users have the other record.

    It does that before it calls a host. Where it has not done so yet this waits a while.

    :raises MoveSuperseded: the server is not to be reverted any more
    :raises ServerBeingDeleted, ServerNotFound: it is not wanted any more
    """

    def look() -> bool | None:
        moves.reload(work)
        found = work.instance.get("task_state")
        if found != TaskState.RESIZE_REVERTING:
            raise superseded(work, f"the server is in task state {found}")
        return True if work.instance.get("hidden") else None

    return _wait(work, look, otherwise=False)


def _wait(work: Work, look: Callable[[], bool | None], *, otherwise: bool) -> bool:
    """Look until there is an answer.

    :param otherwise: the answer when nova-conductor has been silent for too long
    """
    clock, pace = work.tools.clock, work.tools.pace
    deadline = clock.monotonic() + pace.cell_move_patience
    while True:
        found = look()
        if found is not None:
            return found
        if clock.monotonic() >= deadline:
            return otherwise
        if clock.wait(work.cancelled, pace.handover_poll):
            raise Interrupted


def is_finished(work: Work) -> bool:
    """Whether the record, as last read, says that the server has come to this host, and has got
    there what it is to have."""
    return work.here and work.instance.get("vm_state") == VmState.RESIZED


def has_left(work: Work) -> bool:
    """Whether the record, as last read, says that this host has let the server go."""
    return work.here and work.instance.get("task_state") == TaskState.RESIZE_MIGRATED


def given_back(work: Work) -> dict[str, Any]:
    """Fields to save for a server that is not this host's any more: nova-conductor deletes the
    record, unless it was stopped."""
    record = moves.migration(work)
    return {
        "host": record["source_compute"],
        "node": record["source_node"],
        "compute_id": None,
    }


def hand_back_ports(work: Work) -> bool:
    """Let the ports that this host has got be the old host's again; whether all of them are."""
    return work.tools.ports.host_bindings.hand_back(
        work.context, work.uuid, work.tools.host, move_ends.source(work)
    )
