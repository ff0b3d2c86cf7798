"""The operation engine: promise, run, resume, roll back.

The life of an operation: ``accept`` puts the intent on disk (then the message may be acknowledged),
``start`` queues it behind what its server is doing, the plan's stages run, and the journal entry is
removed. When a step fails, the failure is put on disk, every step is undone in reverse order and
``failed`` tells the API. A process that dies at any point leaves an entry from which ``resume``
goes on in the direction it had.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from nova_lite.engine.announcements import Announcements
from nova_lite.engine.finished import Finished
from nova_lite.engine.journal import Entry, Journal, Unwritten
from nova_lite.engine.late import Late
from nova_lite.engine.patience import Draining, persist
from nova_lite.engine.queues import ServerQueues
from nova_lite.errors import AnswerLost, NovaLiteError, ServerBeingDeleted, Verdict
from nova_lite.failures import Failure, OperationFailed
from nova_lite.notifications.notifier import Notifier
from nova_lite.operations.base import Operation
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.wire import connection_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap, wrap

LOG = logging.getLogger(__name__)

MakeWork = Callable[[RequestContext, Mapping[str, Any], Entry], Work]
Observer = Callable[[str], None]


class Engine:
    """Runs operations.

    ``verbs`` maps an RPC method to its Operation class, ``make_work`` builds what the steps share,
    ``observer`` is told of every boundary by name (tests kill the process there), ``announcements``
    of what others may want to hear, ``late`` of what may be another host's by now.
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
        late: Late | None = None,
    ) -> None:
        self._journal = journal
        self._queues = queues
        self._verbs = verbs
        self._make_work = make_work
        self._start_event = start_event
        self._finish_event = finish_event
        self._observe = observer or (lambda boundary: None)
        self._announcements, self._late = announcements or Announcements(Notifier()), late
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str, str], Entry] = {}
        self._finished = Finished(journal.directory / "finished")
        self._running: dict[str, Work] = {}
        self._drain = threading.Event()

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
        key = (context.request_id, method, server_uuid)
        with self._lock:
            if key in self._open or key in self._finished:
                LOG.info("Dropped a second %s for server %s of request %s",
                         method, server_uuid, context.request_id)  # fmt: skip
                return None
            secrets = self._verbs[method].secrets
            whole = {name: value for name, value in arguments.items() if name not in secrets}
            # The way to a volume may hold passwords; whoever resumes reads it from the records.
            told = _intent(method, context, server_uuid, whole)
            intent = connection_info.left_out(told)
            entry = self._journal.open(intent)
            entry.secrets = {
                name: value
                for name, value in arguments.items()
                if name in secrets or intent["arguments"][name] != told["arguments"][name]
            }
            self._open[key] = entry
        self._observe(f"{method}:accepted")
        return entry

    def refuse(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
        error: NovaLiteError,
    ) -> bool:
        """End an operation that could not be promised as one that failed before its first step.

        Nothing of it is on disk, so this returns only when it is over; False when the agent stops
        before that and the request must stay with the broker.
        """
        intent = _intent(method, context, server_uuid, arguments)
        entry = Unwritten(intent, Failure.of(error))
        over = threading.Event()
        verb = self._verbs[method]

        def run() -> None:
            try:
                self._run(entry, verb)
            finally:
                over.set()

        self._queues.submit(server_uuid, verb.pool, f"refused {method}", run)
        over.wait()
        return entry.closed

    def answer_to(self, method: str, context: RequestContext, server_uuid: str) -> Future[Any]:
        """The answer to a request that was promised before; its caller may still wait for it."""
        with self._lock:
            entry = self._open.get((context.request_id, method, server_uuid))
        if entry is not None:
            return entry.answer
        lost: Future[Any] = Future()
        lost.set_exception(
            AnswerLost(f"{method} of server {server_uuid} is over, but its answer was lost")
        )
        return lost

    def start(self, entry: Entry) -> None:
        """Queue a promised operation behind what its server is doing."""
        verb = self._verbs[entry.method]
        running = self._running.get(entry.server_uuid)
        if verb.urgent and running is not None:
            running.cancelled.set()
        label = f"{entry.method} of server {entry.server_uuid}"
        self._queues.submit(entry.server_uuid, verb.pool, label, lambda: self._run(entry, verb))

    def begin(
        self,
        method: str,
        context: RequestContext,
        server_uuid: str,
        arguments: Mapping[str, Any],
    ) -> None:
        """Promise and start an operation that this host asks of itself."""
        entry = self.accept(method, context, server_uuid, arguments)
        if entry is not None:
            self.start(entry)

    def after(self, server_uuid: str, label: str, job: Callable[[], None]) -> None:
        """Run ``job`` when what the server is doing is over; nothing of it is journalled."""
        self._queues.submit(server_uuid, "short", label, job)

    def resume(self) -> set[str]:
        """Start every operation that an earlier process left open; return their servers."""
        servers: set[str] = set()
        for entry in self._journal.entries():
            if entry.method not in self._verbs:
                LOG.error("The journal %s holds the unknown operation %r; left as it is. "
                          "Was a newer agent running here?", entry.path, entry.method)  # fmt: skip
                continue
            if entry.key in self._finished:
                entry.close()
                continue
            LOG.warning("Resuming %s of server %s (%s)", entry.method, entry.server_uuid,
                        "rolling back" if entry.failure else "forward")  # fmt: skip
            self._open[entry.key] = entry
            servers.add(entry.server_uuid)
        # All are known before the first one starts: what is to be deleted is not made any more.
        for entry in list(self._open.values()):
            self.start(entry)
        return servers

    def busy(self, server_uuid: str) -> bool:
        """Whether an operation runs or waits for this server."""
        return self._queues.busy(server_uuid)

    def settle(self, timeout: float) -> bool:
        """Wait until nothing runs; False when ``timeout`` seconds were not enough."""
        return self._queues.wait_idle(timeout)

    def drain(self, timeout: float) -> bool:
        """Let running operations end, or stop at a step boundary; False when some did not."""
        self._drain.set()
        for work in list(self._running.values()):
            work.cancelled.set()
        return self._queues.wait_idle(timeout)

    # --- run --------------------------------------------------------------------------------
    def _run(self, entry: Entry, verb: type[Operation]) -> None:
        if self._drain.is_set():
            return
        context = RequestContext(entry.intent["context"])
        arguments = wrap({**entry.intent["arguments"], **entry.secrets})
        work = self._make_work(context, arguments, entry)
        work.resumed, work.arrived = entry.resumed, entry.arrived
        operation = verb(work)
        self._running[entry.server_uuid] = work
        try:
            if self._ended_late(operation, entry):
                return
            if entry.failure is None:
                self._forward(operation, entry)
                if entry.failure and self._ended_late(operation, entry):
                    return
            if entry.failure is not None:
                self._start_event_once(work, entry, verb)
                self._roll_back(operation, entry)
            self._finish(operation, entry)
            self._close(entry)
        except Draining:
            LOG.info("Stopped %s of server %s at a step boundary; it goes on at the next start",
                     entry.method, entry.server_uuid)  # fmt: skip
        finally:
            self._running.pop(entry.server_uuid, None)

    def _ended_late(self, operation: Operation, entry: Entry) -> bool:
        """End an operation whose server is not this host's any more."""
        refusal = self._late and self._late.refusal(operation, entry, self._drain)
        if refusal:
            entry.answer.set_exception(refusal)
            self._close(entry)
        return bool(refusal)

    def _start_event_once(self, work: Work, entry: Entry, verb: type[Operation]) -> None:
        event = verb.event
        if event is not None and not entry.notes.get("event"):
            self._persist(lambda: self._start_event(work.context, entry.server_uuid, event))
            entry.note(event=True)

    def _finish(self, operation: Operation, entry: Entry) -> None:
        event, failure = operation.event, entry.failure
        if event is not None:
            self._persist(
                lambda: self._finish_event(
                    operation.work.context, entry.server_uuid, event, failure
                )
            )
        # Before the journal is closed: a caller that gets no answer may rely on the next process
        # to know that.
        if failure is None:
            entry.answer.set_result(operation.answer())
        else:
            entry.answer.set_exception(OperationFailed(failure))

    def _forward(self, operation: Operation, entry: Entry) -> None:
        try:
            self._start_event_once(operation.work, entry, type(operation))
            self._persist(operation.load)
            self._announcements.started(operation, entry)
            for stage in operation.plan():
                self._check_interrupts(entry)
                self._run_stage([step for step in stage if step.name not in entry.ended], entry)
                self._announcements.passed(operation, entry, stage)
            self._announcements.ended(operation, entry)
        except Draining:
            raise
        except Exception as error:
            failure = Failure.of(error)
            self._log_failure(entry, failure, error)
            entry.fail(failure)
            self._observe(f"{entry.method}:failed")

    def _check_interrupts(self, entry: Entry) -> None:
        """Between stages, and when a step was interrupted: is there a reason not to go on?"""
        if self._drain.is_set():
            raise Draining
        if self._verbs[entry.method].urgent:
            return
        with self._lock:
            others = [other for other in self._open.values() if other is not entry]
        if any(
            other.server_uuid == entry.server_uuid and self._verbs[other.method].urgent
            for other in others
        ):
            raise ServerBeingDeleted(f"Server {entry.server_uuid} is being deleted")

    def _run_stage(self, steps: list[Step], entry: Entry) -> None:
        if len(steps) <= 1:
            for step in steps:
                self._run_step(step, entry)
            return
        with ThreadPoolExecutor(len(steps), thread_name_prefix=entry.method) as workers:
            futures = [workers.submit(self._run_step, step, entry) for step in steps]
        # All have ended here: nothing of this stage goes on beside a rollback.
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Draining)):
            raise error

    def _run_step(self, step: Step, entry: Entry) -> None:
        begun = step.name in entry.begun
        entry.mark("begin", step.name)
        self._observe(f"{entry.method}:{step.name}:begin")

        def attempt() -> None:
            nonlocal begun
            if not (begun and step.done()):
                begun = True  # whoever comes again does not know how far this came
                step.do()

        start = time.monotonic()
        try:
            self._persist(attempt)
        except Interrupted:
            self._check_interrupts(entry)
            raise
        LOG.debug("%s of server %s: %s took %.3f s",
                  entry.method, entry.server_uuid, step.name, time.monotonic() - start)  # fmt: skip
        entry.mark("end", step.name)
        entry.ended.add(step.name)
        self._observe(f"{entry.method}:{step.name}:end")

    def _persist(self, attempt: Callable[[], None]) -> None:
        persist(attempt, self._drain)

    def _roll_back(self, operation: Operation, entry: Entry) -> None:
        failure = entry.failure
        assert failure is not None
        plan = operation.plan() if operation.undoes and entry.begun else []
        begun = [s for stage in reversed(plan) for s in reversed(stage) if s.name in entry.begun]
        left = [step for step in begun if not self._undo_step(step, entry)]
        if failure.verdict == Verdict.RESCHEDULE.value and any(step.exclusive for step in left):
            # Two hosts must not run the same server: it ends here, in ERROR.
            failure = replace(failure, verdict=Verdict.ABORT)
            entry.fail(failure)
        self._persist(lambda: operation.failed(failure))
        self._announcements.failed(operation, entry, failure)
        self._observe(f"{entry.method}:reported")

    def _undo_step(self, step: Step, entry: Entry) -> bool:
        """Whether it was taken back."""
        undone = False
        entry.mark("undo", step.name)
        self._observe(f"{entry.method}:{step.name}:undo")
        try:
            self._persist(step.undo)
            undone = True
        except NovaLiteError as error:
            # What cannot be taken back must not keep the rest from being taken back.
            LOG.error("Could not undo %s for server %s: %s", step.name, entry.server_uuid, error)
        except Draining:
            raise
        except Exception:
            LOG.exception("Could not undo %s for server %s", step.name, entry.server_uuid)
        entry.mark("undone", step.name)
        self._observe(f"{entry.method}:{step.name}:undone")
        return undone

    # --- out --------------------------------------------------------------------------------
    def _close(self, entry: Entry) -> None:
        with self._lock:
            self._finished.add(entry.key)
            entry.close()
            self._open.pop(entry.key, None)
        self._observe(f"{entry.method}:closed")

    @staticmethod
    def _log_failure(entry: Entry, failure: Failure, error: Exception) -> None:
        if failure.verdict == Verdict.GONE.value:
            LOG.info("%s of server %s ended early: %s",
                     entry.method, entry.server_uuid, failure.message)  # fmt: skip
        elif failure.expected:
            LOG.error("%s of server %s failed: %s",
                      entry.method, entry.server_uuid, failure.message)  # fmt: skip
        else:
            LOG.error("%s of server %s failed: %s", entry.method, entry.server_uuid,
                      failure.message, exc_info=error)  # fmt: skip


def _intent(
    method: str, context: RequestContext, server_uuid: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """What must be known to go on with an operation in another process."""
    return {
        "request_id": context.request_id,
        "method": method,
        "server": server_uuid,
        "context": context.fields,
        "arguments": unwrap(dict(arguments)),
    }
