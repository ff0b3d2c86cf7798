"""What this agent has promised: each request once, whoever asks again and however often."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from nova_lite.engine.entry import Entry
from nova_lite.engine.finished import Finished, Outcome
from nova_lite.engine.journal import Journal
from nova_lite.engine.key import Key, key_of
from nova_lite.errors import AnswerLost
from nova_lite.failures import OperationFailed
from nova_lite.operations.base import Operation
from nova_lite.wire import connection_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap

LOG = logging.getLogger(__name__)


class Acceptance:
    """The open operations by their keys; no lock is held while the disk is waited for."""

    def __init__(
        self, journal: Journal, verbs: Mapping[str, type[Operation]], finished: Finished
    ) -> None:
        self._journal = journal
        self._verbs = verbs
        self._finished = finished
        self._changed = threading.Condition()
        self._reserved: set[Key] = set()
        self._open: dict[Key, Entry] = {}

    def accept(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> Entry | None:
        """Put an intent on disk; None when this request was promised before.

        A message that comes again while the first is being written waits for that, and is tried
        itself when it fails.

        :raises JournalError: it cannot be written; nothing was promised
        """
        verb = self._verbs[method]
        key = key_of(verb, method, context, server_uuid, arguments)
        if not self._reserve(key):
            LOG.info("Dropped a second %s for server %s of request %s",
                     method, server_uuid, context.request_id)  # fmt: skip
            return None
        entry = None
        try:
            entry = self._write(verb, key, context, arguments)
        finally:
            with self._changed:
                self._reserved.discard(key)
                if entry is not None:
                    self._open[key] = entry
                self._changed.notify_all()
        return entry

    def knows(self, key: Key) -> bool:
        """Whether a request was promised before, and is open or one of the last that ended."""
        with self._changed:
            return key in self._open or key in self._finished

    def _reserve(self, key: Key) -> bool:
        with self._changed:
            while key in self._reserved:
                self._changed.wait()
            if self.knows(key):
                return False
            self._reserved.add(key)
            return True

    def _write(
        self,
        verb: type[Operation],
        key: Key,
        context: RequestContext,
        arguments: Mapping[str, Any],
    ) -> Entry:
        secrets = verb.secrets
        whole = {name: value for name, value in arguments.items() if name not in secrets}
        # connection_info may hold passwords; who resumes the operation reads it from the records.
        told = intent_of(key, context, whole)
        intent = connection_info.left_out(told)
        entry = self._journal.open(intent)
        entry.secrets = {
            name: value
            for name, value in arguments.items()
            if name in secrets or intent["arguments"][name] != told["arguments"][name]
        }
        return entry

    def answer_to(self, key: Key) -> Future[Any]:
        """The answer to a request that was promised before; its caller may still wait for it."""
        with self._changed:
            entry = self._open.get(key)
        if entry is not None:
            return entry.answer
        answer: Future[Any] = Future()
        outcome = self._finished.outcome(key)
        if outcome is None or not outcome.known:
            answer.set_exception(
                AnswerLost(f"{key.method} of server {key.server} is over, but its answer was lost")
            )
        else:
            give(answer, outcome)
        return answer

    def resume(self, entry: Entry) -> None:
        """Take in what an earlier process has promised."""
        with self._changed:
            self._open[entry.key] = entry

    def entries(self, server_uuid: str | None = None) -> list[Entry]:
        """The open operations, in the order of their arrival; of one server if it is given."""
        with self._changed:
            return [
                entry
                for entry in self._open.values()
                if server_uuid is None or entry.server_uuid == server_uuid
            ]

    def forget(self, entry: Entry) -> None:
        """Remove the journal entry of an operation that is over."""
        entry.close()
        with self._changed:
            if self._open.get(entry.key) is entry:
                del self._open[entry.key]


def give(answer: Future[Any], outcome: Outcome) -> None:
    """Let who waits for it have an outcome."""
    if outcome.failure is None:
        answer.set_result(outcome.answer)
    else:
        answer.set_exception(OperationFailed(outcome.failure))


def intent_of(
    key: Key, context: RequestContext, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be known to go on with an operation in another process."""
    return {
        "request_id": key.request_id,
        "method": key.method,
        "server": key.server,
        "subject": key.subject,
        "context": context.fields,
        "arguments": unwrap(dict(arguments)),
    }
