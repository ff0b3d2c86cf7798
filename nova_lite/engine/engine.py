"""The operation engine: promise, queue, signal, run, resume.

The life of an operation: ``accept`` puts the intent on disk (then the message may be acknowledged),
``start`` queues it behind what its server is doing, a :class:`Run` carries it out, its outcome goes
to disk, the caller is answered, and the journal entry is removed. A process that dies at any point
leaves an entry from which ``resume`` goes on in the direction it had.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from nova_lite.clock import SYSTEM, USUAL, Clock, Pace
from nova_lite.engine.acceptance import Acceptance, give, intent_of
from nova_lite.engine.announcements import Announcements
from nova_lite.engine.bus import Bus, EngineEvent, Moment, at_boundaries
from nova_lite.engine.entry import Entry, Unwritten
from nova_lite.engine.finished import UNKNOWN, Finished, Outcome
from nova_lite.engine.journal import Journal
from nova_lite.engine.key import Key, key_of
from nova_lite.engine.late import Late
from nova_lite.engine.queues import ServerQueues
from nova_lite.engine.run import Draining, Run, Surroundings
from nova_lite.errors import NovaLiteError
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.work import Signal, Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap

LOG = logging.getLogger(__name__)

MakeWork = Callable[[RequestContext, Mapping[str, Any], Entry], Work]
Observer = Callable[[str], None]


class Engine:
    """Runs operations.

    ``verbs`` maps an RPC method to its Operation class, ``make_work`` builds what the steps share.
    ``observer`` is told of every boundary by name (tests kill the process there), ``announcements``
    of what others may want to hear; both are subscribers of ``bus``, which tells of everything.
    ``clock`` and ``pace`` say when it tries again, ``late`` whether a server is still this host's.
    """

    def __init__(
        self,
        journal: Journal,
        queues: ServerQueues,
        verbs: Mapping[str, type[Operation]],
        make_work: MakeWork,
        finish_event: Callable[[RequestContext, str, str, Failure | None], None],
        start_event: Callable[[RequestContext, str, str], None],
        observer: Observer | None = None,
        announcements: Announcements | None = None,
        bus: Bus | None = None,
        clock: Clock = SYSTEM,
        pace: Pace = USUAL,
        late: Late | None = None,
    ) -> None:
        self._journal = journal
        self._queues = queues
        self._verbs = verbs
        self._make_work = make_work
        self.bus = bus or Bus()
        if announcements is not None:
            self.bus.subscribe(announcements.heard)
        if observer is not None:
            self.bus.subscribe(at_boundaries(observer))
        self._finished = Finished(journal.directory / "finished", journal.boot_id)
        self._acceptance = Acceptance(journal, verbs, self._finished)
        self._drain = threading.Event()
        self._around = Surroundings(
            self.bus, self._drain, finish_event, start_event, clock, pace, late
        )
        self._late = late
        self._lock = threading.Lock()
        self._refused: dict[Key, Future[bool]] = {}

    def listening(self) -> None:
        """Messages arrive from now on; those that waited for this host come first."""
        if self._late is not None:
            self._late.listening()

    # --- in ---------------------------------------------------------------------------------
    def accept(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> Entry | None:
        """Promise the operation; None when this request was promised before.

        :raises JournalError: the intent cannot be written; nothing was promised
        """
        entry = self._acceptance.accept(method, context, server_uuid, arguments)
        if entry is not None:
            self.bus.publish(EngineEvent(Moment.ACCEPTED, entry))
        return entry

    def refuse(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
        error: NovaLiteError,
    ) -> Future[bool]:
        """End an operation that could not be promised as one that failed before its first step.

        Nothing of it is on disk, so the message must stay with the broker until the result is
        there: whether it is over; False when the agent stops before that.
        """
        verb = self._verbs[method]
        key = key_of(verb, method, context, server_uuid, arguments)
        with self._lock:
            over = self._refused.get(key)
            if over is not None:
                return over
            over = self._refused[key] = Future()
        entry = Unwritten(intent_of(key, context, arguments), Failure.of(error))

        def run() -> None:
            try:
                if key not in self._finished:
                    self._run(entry, verb)
            finally:
                with self._lock:
                    del self._refused[key]
                over.set_result(key in self._finished)

        # Only told, not carried out: not to wait for a place among the builds that run.
        self._queues.submit(server_uuid, "short", f"refused {method}", run)
        return over

    def promised(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> bool:
        """Whether this request was accepted before, be it over or not."""
        return self._acceptance.knows(
            key_of(self._verbs[method], method, context, server_uuid, arguments)
        )

    def answer_to(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> Future[Any]:
        """The answer to a request that was promised before; its caller may still wait for it."""
        return self._acceptance.answer_to(
            key_of(self._verbs[method], method, context, server_uuid, arguments)
        )

    def start(self, entry: Entry) -> None:
        """Queue a promised operation behind what its server is doing."""
        verb = self._verbs[entry.method]
        if verb.urgent:
            self._make_way(entry)
        label = f"{entry.method} of server {entry.server_uuid}"
        queue = f"{entry.server_uuid} {entry.method}" if verb.beside else entry.server_uuid
        self._queues.submit(queue, verb.pool, label, lambda: self._run(entry, verb))

    def _make_way(self, urgent: Entry) -> None:
        for entry in self._acceptance.entries(urgent.server_uuid):
            if entry is not urgent and not self._verbs[entry.method].urgent:
                entry.signal(Signal.DELETE)

    def begin(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> None:
        """Promise and start an operation that this host asks of itself.

        :raises JournalError: the intent cannot be written
        """
        entry = self.accept(method, context, server_uuid, arguments)
        if entry is not None:
            self.start(entry)

    def signal(self, server_uuid: str, signal: Signal, method: str | None = None) -> bool:
        """Tell the open operations of a server something; whether there was one.

        :param method: only those of this RPC method
        """
        told = [
            entry
            for entry in self._acceptance.entries(server_uuid)
            if method in (None, entry.method)
        ]
        for entry in told:
            entry.signal(signal)
        return bool(told)

    def after(self, server_uuid: str, label: str, job: Callable[[], None]) -> None:
        """Run ``job`` when what the server is doing is over; nothing of it is journalled."""
        self._queues.submit(server_uuid, "short", label, job)

    def resume(self) -> set[str]:
        """Start every operation that an earlier process left open; return their servers."""
        for entry in self._journal.entries():
            if entry.method not in self._verbs:
                self._journal.set_aside(entry.path, f"unknown operation {entry.method!r}")
            elif entry.key in self._finished:
                entry.close()  # a kill, or a power failure, has left it or brought it back
            else:
                LOG.warning("Resuming %s of server %s (%s%s)", entry.method, entry.server_uuid,
                            "rolling back" if entry.failure else "forward",
                            f", without {', '.join(sorted(entry.lost))}" if entry.lost else "",
                            )  # fmt: skip
                self._acceptance.resume(entry)
        # All are known before the first one starts: what is to be deleted is not made any more.
        entries = self._acceptance.entries()
        for entry in entries:
            if self._verbs[entry.method].urgent:
                self._make_way(entry)
        for entry in entries:
            self.start(entry)
        return {entry.server_uuid for entry in entries}

    def busy(self, server_uuid: str) -> bool:
        """Whether an operation runs or waits for this server."""
        return self._queues.busy(server_uuid)

    def locks_free(self) -> None:
        """Return as soon as each lock can be had that messages and operations need."""
        self._acceptance.entries()
        self._queues.busy("")
        with self._lock:
            pass

    def settle(self, timeout: float) -> bool:
        """Wait until nothing runs; False when ``timeout`` seconds were not enough."""
        return self._queues.wait_idle(timeout)

    def drain(self, timeout: float) -> bool:
        """Let running operations end, or stop at a step boundary; False when some did not."""
        self._drain.set()
        for entry in self._acceptance.entries():
            entry.signal(Signal.DRAIN)
        return self._queues.wait_idle(timeout)

    # --- run --------------------------------------------------------------------------------
    def _run(self, entry: Entry, verb: type[Operation]) -> None:
        if self._drain.is_set():
            return
        try:
            operation = self._operation(entry, verb)
        except Exception as error:
            LOG.exception("%s of server %s cannot be carried out", entry.method, entry.server_uuid)
            if entry.resumed:
                self._journal.set_aside(entry.path, str(error))
            self._close(entry, None, Outcome(failure=Failure.of(error)))
            return
        try:
            outcome = Run(operation, entry, self._around).carry_out()
        except Draining:
            LOG.info("Stopped %s of server %s at a step boundary; it goes on at the next start",
                     entry.method, entry.server_uuid)  # fmt: skip
            return
        finally:
            operation.left_by_process()
        self._close(entry, operation, outcome)

    def _operation(self, entry: Entry, verb: type[Operation]) -> Operation:
        context = RequestContext(entry.intent["context"])
        arguments = wrap({**entry.intent["arguments"], **entry.secrets})
        work = self._make_work(context, arguments, entry)
        work.signals = entry.signals
        work.resumed, work.rebooted, work.arrived = entry.resumed, entry.rebooted, entry.arrived
        work.lost = entry.lost
        return verb.variant(arguments)(work)

    def _close(self, entry: Entry, operation: Operation | None, outcome: Outcome) -> None:
        last = operation is not None and operation.rolls_back_unanswered
        if last:
            give(entry.answer, outcome)  # a process killed before this leaves it to be rolled back
        kept = operation is None or (
            operation.answers and (not last or outcome.failure is not None)
        )
        if operation is not None and operation.answer_ends_with_boot:
            outcome = replace(outcome, boot=self._journal.boot_id)
        self._finished.add(entry.key, outcome if kept else UNKNOWN)
        self.bus.publish(EngineEvent(Moment.FINISHED, entry, operation, failure=outcome.failure))
        if not last:
            give(entry.answer, outcome)
        self._acceptance.forget(entry)
        self.bus.publish(EngineEvent(Moment.CLOSED, entry, operation))
