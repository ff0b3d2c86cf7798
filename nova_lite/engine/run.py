"""One operation, carried out: forward through its plan, or back, until the API knows how it ended.

A run ends by returning its outcome, or by Draining: then it goes on at the agent's next start, from
what the journal entry says and what the world looks like.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from nova_lite.clock import Clock, Pace
from nova_lite.engine.bus import Bus, EngineEvent, Moment
from nova_lite.engine.entry import Entry
from nova_lite.engine.finished import Outcome
from nova_lite.engine.late import Late
from nova_lite.engine.patience import WaitEnded, persist
from nova_lite.errors import NovaLiteError, OperationAborted, ServerBeingDeleted, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.notes import RunNotes
from nova_lite.services.work import Interrupted, Signal
from nova_lite.steps.base import NoWayBack, Stage, Step, undoable
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import unwrap

LOG = logging.getLogger(__name__)


class Draining(Exception):
    """The agent stops: the operation ends at a step boundary and goes on at the next start."""


@dataclass(frozen=True)
class Surroundings:
    """What all runs share: the bus, the agent's stop, and how action events are recorded.

    ``finish_event`` and ``start_event`` are called with (context, server uuid, event name), the
    former with the failure, too. ``clock`` and ``pace`` say when something is tried again.
    """

    bus: Bus
    drain: threading.Event
    finish_event: Callable[[RequestContext, str, str, Failure | None], None]
    start_event: Callable[[RequestContext, str, str], None]
    clock: Clock
    pace: Pace
    late: Late | None = None


class Run:
    """The run of one operation in this process."""

    def __init__(self, operation: Operation, entry: Entry, around: Surroundings) -> None:
        self._operation = operation
        self._work = operation.work
        self._entry = entry
        self._around = around
        self._abort_came_late = False
        self._load_tried = False
        self._answer: Any = None
        self._work.past_return = entry.no_way_back is not None

    def carry_out(self) -> Outcome:
        """
        :raises Draining: the agent stops before it is over
        """
        elsewhere = self._elsewhere()
        if elsewhere is None and self._entry.failure is None:
            self._forward()
            elsewhere = self._elsewhere() if self._entry.failure is not None else None
        failure = self._entry.failure
        if elsewhere is not None:
            if failure is not None:
                self._finish_event(failure)
            return Outcome(failure=Failure.of(elsewhere))
        if failure is not None:
            failure = self._back(failure)
        self._finish_event(failure)
        return Outcome(self._answer, failure)

    def _elsewhere(self) -> NovaLiteError | None:
        """Why it must have no effect: the server is not this host's any more (see ``late``).

        Its event, if one was started, stays unfinished, as when a host dies, unless it has failed
        here: whether it succeeded is not for this host to say.
        """
        late = self._around.late
        if late is None:
            return None
        return late.refusal(self._operation, self._entry, self._persist)

    # --- forward ----------------------------------------------------------------------------
    def _forward(self) -> None:
        try:
            self._entry.check_caller()
            self._start_event()
            self._load()
            self._publish(Moment.BEGUN)
            self._carry_out_plan()
            if self._operation.rolls_back_unanswered:
                self._entry.check_caller()
            self._answer = self._keepable_answer()
            self._publish(Moment.CARRIED_OUT)
        except Draining:
            raise
        except Exception as error:
            failure = Failure.of(error)
            self._log_failure(failure, error)
            self._entry.fail(failure)
            self._publish(Moment.FAILED, failure=failure)

    def _load(self) -> None:
        self._load_tried = True
        try:
            self._persist(self._operation.load, waits=True)
        except Interrupted:
            self._heed_signals()
            raise

    def _carry_out_plan(self) -> None:
        plan, entry = self._operation.plan(), self._entry
        for number, stage in enumerate(plan):
            if isinstance(stage, NoWayBack):
                self._pass(stage, silently=number == len(plan) - 1)
                continue
            self._heed_signals()
            self._run_stage([step for step in stage if step.name not in entry.ended])
            self._publish(Moment.STAGE_ENDED, stage=stage)

    def _pass(self, point: NoWayBack, *, silently: bool = False) -> None:
        """Note that nothing is taken back from here on.

        :param silently: at the end of a plan there is nothing to write down
        """
        if not silently and self._entry.no_way_back is None:
            self._entry.pass_return(point.reason)
            self._publish(Moment.NO_WAY_BACK)
        self._work.past_return = True

    def _keepable_answer(self) -> Any:
        if not self._operation.answers:
            return None
        answer = unwrap(self._operation.answer())
        json.dumps(answer)  # a mistake of ours is to show here, not after the caller was told
        return answer

    def _heed_signals(self) -> bool:
        """Between stages, and when a step was interrupted: is there a reason not to go on?

        :return: an abort came too late, so that there is none
        """
        signals, server = self._entry.signals, self._entry.server_uuid
        if self._around.drain.is_set():
            raise Draining
        if Signal.DELETE in signals and not self._operation.urgent:
            raise ServerBeingDeleted(f"Server {server} is being deleted")
        if Signal.ABORT in signals:
            if not self._work.past_return:
                raise OperationAborted(f"{self._entry.method} of server {server} was aborted")
            LOG.warning("%s of server %s cannot be aborted any more: %s", self._entry.method,
                        server, self._entry.no_way_back)  # fmt: skip
            self._abort_came_late = True
            signals.drop(Signal.ABORT)
        return self._abort_came_late

    def _run_stage(self, steps: list[Step]) -> None:
        if len(steps) <= 1:
            for step in steps:
                self._run_step(step)
            return
        with ThreadPoolExecutor(len(steps), thread_name_prefix=self._entry.method) as workers:
            futures = [workers.submit(self._run_step, step) for step in steps]
        # All have ended here: nothing of this stage goes on beside a rollback.
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Draining)):
            raise error

    def _run_step(self, step: Step) -> None:
        entry = self._entry
        begun = entry.may_have_begun(step.name)
        entry.mark("begin", step.name)
        self._publish(Moment.STEP_BEGAN, step.name)

        def attempt() -> None:
            nonlocal begun
            step.repeated = begun
            if not (begun and step.done()):
                begun = True  # who comes again does not know how far this came
                step.do()

        start = time.monotonic()
        while True:
            try:
                self._persist(attempt, step=step.name, waits=True)
                break
            except Interrupted:
                if not self._heed_signals():
                    raise
        LOG.debug("%s of server %s: %s took %.3f s", entry.method, entry.server_uuid, step.name,
                  time.monotonic() - start)  # fmt: skip
        entry.mark("end", step.name)
        self._publish(Moment.STEP_ENDED, step.name)

    def _persist(
        self, attempt: Callable[[], None], *, step: str | None = None, waits: bool = False
    ) -> None:
        """Try again while a dependency is away.

        :param waits: whether signals to the operation end that; else only the agent's stop does
        :raises Draining, Interrupted: it was ended
        """

        def retried(error: NovaLiteError, waited: float) -> None:
            self._publish(Moment.RETRIED, step, error=error, waited=waited)

        stop = self._entry.signals.ends_waiting if waits else self._around.drain
        try:
            persist(attempt, stop, self._around.clock, self._around.pace, retried)
        except (WaitEnded, Interrupted):
            if self._around.drain.is_set():
                raise Draining from None
            raise Interrupted from None

    # --- back -------------------------------------------------------------------------------
    def _back(self, failure: Failure) -> Failure | None:
        """Take back what may be, and tell the API; None: it counts as done after all."""
        self._best_effort("record the beginning of", self._start_event)
        if self._entry.resumed and not self._load_tried:
            # What it raises (the server is gone, or being deleted) is no reason to leave things.
            self._best_effort("load", lambda: self._persist(self._operation.load))
        if self._entry.taken_back is None:
            failure = self._take_back(failure)
        self._work.left = self._entry.taken_back or frozenset()
        if self._work.past_return and self._has_succeeded():
            LOG.warning("%s of server %s counts as done: %s", self._entry.method,
                        self._entry.server_uuid, failure.message)  # fmt: skip
            self._entry.succeed()
            self._publish(Moment.CARRIED_OUT)
            return None
        self._report(failure)
        self._publish(Moment.REPORTED, failure=failure)
        return failure

    def _take_back(self, failure: Failure) -> Failure:
        """Undo in reverse order what was begun before the point of no return."""
        steps: list[Step] = []
        planned = self._best_effort("plan the way back of", lambda: steps.extend(self._undoable()))
        if not planned:
            LOG.error("Nothing of it was taken back; look at server %s", self._entry.server_uuid)
        left = [step for step in steps if not self._undo(step)]
        exclusive = not planned or any(step.exclusive for step in left)
        if failure.verdict == Verdict.RESCHEDULE and exclusive:
            # Two hosts must not run the same server: it ends here, in ERROR.
            failure = replace(failure, verdict=Verdict.ABORT)
            self._entry.fail(failure)
        if steps:
            self._entry.took_back(step.name for step in left)
        return failure

    def _undoable(self) -> list[Step]:
        entry = self._entry
        if entry.no_way_back is not None or not (entry.begun or entry.rebooted):
            return []
        plan, end = undoable(self._operation.plan())
        begun = [[s for s in stage if entry.may_have_begun(s.name)] for stage in plan]
        if end is not None and plan and begun[-1] and self._has_passed(end):
            self._pass(end)
            return []
        return [step for stage in reversed(begun) for step in reversed(stage)]

    def _has_passed(self, point: NoWayBack) -> bool:
        """Whether the world says that there is no way back, though the last step before failed."""
        passed = False

        def ask() -> None:
            nonlocal passed
            passed = point.passed is not None and point.passed()

        self._best_effort("find out how far it came in", lambda: self._persist(ask))
        return passed

    def _has_succeeded(self) -> bool:
        succeeded = False

        def ask() -> None:
            nonlocal succeeded
            succeeded = self._operation.succeeded()

        self._best_effort("find out the end of", lambda: self._persist(ask))
        return succeeded

    def _undo(self, step: Step) -> bool:
        """Whether it was taken back."""
        entry, undone = self._entry, False
        entry.mark("undo", step.name)
        self._publish(Moment.UNDO_BEGAN, step.name)
        try:
            self._persist(step.undo, step=step.name)
            undone = True
        except Draining:
            raise
        except NovaLiteError as error:
            # What cannot be taken back must not keep the rest from being taken back.
            LOG.error("Could not undo %s for server %s: %s", step.name, entry.server_uuid, error)
        except Exception:
            LOG.exception("Could not undo %s for server %s", step.name, entry.server_uuid)
        entry.mark("undone", step.name)
        self._publish(Moment.UNDO_ENDED, step.name)
        return undone

    def _report(self, failure: Failure) -> None:
        def report() -> None:
            self._persist(lambda: self._operation.failed(failure))

        def abandon() -> None:
            self._persist(lambda: self._operation.abandon(failure))

        if not self._best_effort("report", report):
            self._best_effort("leave a fault for", abandon)

    # --- around -----------------------------------------------------------------------------
    def _start_event(self) -> None:
        event, entry = self._operation.event, self._entry
        if event is not None and not RunNotes.of(entry.notes).event:
            self._persist(
                lambda: self._around.start_event(self._work.context, entry.server_uuid, event)
            )
            entry.note_unsynced(event=True)

    def _finish_event(self, failure: Failure | None) -> None:
        event, entry = self._operation.event, self._entry
        if event is None:
            return

        def finish() -> None:
            self._around.finish_event(self._work.context, entry.server_uuid, event, failure)

        self._best_effort("record the end of", lambda: self._persist(finish))

    def _best_effort(self, what: str, action: Callable[[], None]) -> bool:
        """Whether ``action`` succeeded; what it raises is logged, for the operation has to end.

        :raises Draining: the agent stops
        """
        entry = self._entry
        try:
            action()
        except Draining:
            raise
        except NovaLiteError as error:
            log = LOG.info if error.verdict is Verdict.GONE else LOG.error
            log("Could not %s %s of server %s: %s",
                what, entry.method, entry.server_uuid, error)  # fmt: skip
            return False
        except Exception:
            LOG.exception("Could not %s %s of server %s", what, entry.method, entry.server_uuid)
            return False
        return True

    def _publish(
        self,
        moment: Moment,
        step: str | None = None,
        *,
        stage: Stage | None = None,
        failure: Failure | None = None,
        error: Exception | None = None,
        waited: float = 0.0,
    ) -> None:
        self._around.bus.publish(
            EngineEvent(
                moment, self._entry, self._operation, step, stage, failure, error, waited
            )
        )

    def _log_failure(self, failure: Failure, error: Exception) -> None:
        entry = self._entry
        if failure.verdict == Verdict.GONE:
            LOG.info("%s of server %s ended early: %s",
                     entry.method, entry.server_uuid, failure.message)  # fmt: skip
        elif failure.expected:
            refused = isinstance(error, NovaLiteError) and error.refusal
            # What the user is not to see of this host, such as the path of a full disk.
            more = f" ({error})" if isinstance(error, OSError) else ""
            LOG.log(logging.WARNING if refused else logging.ERROR, "%s of server %s failed: %s%s",
                    entry.method, entry.server_uuid, failure.message, more)  # fmt: skip
        else:
            LOG.error("%s of server %s failed: %s", entry.method, entry.server_uuid,
                      failure.message, exc_info=error)  # fmt: skip
