"""Operations that come late: is their server still this host's?

While this host was down, its server may have been evacuated. What was asked of this host before
then, and waits in the journal or at the broker, must not start the server a second time here, nor
write on its record. So the server's record is read again before such an operation goes on. What
comes at once costs no call: its message shows the server as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from nova_lite.engine.entry import Entry
from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError, ServerElsewhere, ServerNotFound
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services.ownership import Found, Ownership
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

# Seconds after the agent began to listen in which messages come that waited while it was down, and
# seconds after which a request is old: it waited at the broker or behind another operation.
FIRST_S, OLD_S = 60.0, 30.0


class Late:
    """Knows which operations come late, and ends those whose server is not this host's.

    :param clock: seconds of the monotonic clock, as ``Entry.arrived`` has them
    """

    def __init__(self, ownership: Ownership, clock: Callable[[], float] = time.monotonic) -> None:
        self._ownership = ownership
        self._clock = clock
        self._listening_since: float | None = None

    def listening(self) -> None:
        """The agent begins to receive messages."""
        self._listening_since = self._clock()

    def refusal(
        self, operation: Operation, entry: Entry, persist: Callable[[Callable[[], None]], None]
    ) -> ServerElsewhere | None:
        """Why the operation is to end without an effect; None: it may go on.

        :param persist: runs something again and again while the conductor is away
        """
        if not self._is_late(operation, entry):
            return None
        work, answers = operation.work, []

        def ask() -> None:
            answers.append(self._find(work))

        persist(ask)
        found = answers[-1]
        if found is None or found.standing.permits(operation.places):
            return None
        text = _explanation(found, work.uuid, self._ownership.host)
        LOG.info("%s of server %s (request %s) came late and ends without an effect: %s",
                 entry.method, work.uuid, work.context.request_id, text)  # fmt: skip
        return ServerElsewhere(text)

    def _find(self, work: Work) -> Found | None:
        """What the records say of the server; None where they cannot tell.

        One that was deleted is none of anybody: the operation takes away what is here of it.
        """
        try:
            return self._ownership.find(work.context, work.uuid)
        except ServerNotFound:
            return None
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            # The operation reads and writes the record, too, and tells of it.
            LOG.warning("Whose server %s is cannot be told: %s", work.uuid, error)
            return None

    def _is_late(self, operation: Operation, entry: Entry) -> bool:
        if operation.places == ANYWHERE:
            return False  # it finds out by itself
        if entry.resumed or self._clock() - entry.arrived > OLD_S:
            return True
        since = self._listening_since
        if since is not None and 0 <= entry.arrived - since < FIRST_S:
            return True
        return operation.work.context.age > OLD_S


def _explanation(found: Found, uuid: str, here: str) -> str:
    named = found.standing.host
    if named is None:
        return f"Server {uuid} is on no host, and was asked for at host {here}; try again"
    if named == here:
        return f"Server {uuid} is being evacuated from host {here}; try again when that is over"
    return f"Server {uuid} is on host {named} by now, and was asked for at host {here}; try again"
