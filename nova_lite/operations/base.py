"""What an operation is: one verb of the compute RPC API as a plan of steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.operations.notified import Notified
from nova_lite.operations.restart import AfterRestart
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.wire.decode import Kind


class Operation(Notified, ABC):
    """One verb on one server.

    ``requires`` are the arguments, beside ``instance``, without which it cannot begin, each with
    its kind: ``str``, or ``WireObject | None`` where null is allowed, or ``object`` for anything.
    ``event`` is the name under which ``openstack server event show`` tells of it (None: it tells
    nothing, as in stock), ``pool`` the group of workers that runs it, ``urgent`` makes it interrupt
    what runs on the server now, and ``undoes`` says that a failure takes the steps back: true only
    where they made something new.
    ``answers``: somebody waits for :meth:`answer`, or for the error. ``secrets`` are arguments that
    never go to disk: whoever resumes the operation does not have them.
    ``called_with_task_state``: the API sets a task state before it calls, and does not clear it
    when the call is refused. ``after_restart`` says for each task state that this verb settles what
    is done with a server that is found in it at start-up and has no journal
    (``membership/survey.py``).
    """

    requires: ClassVar[Mapping[str, Kind]] = {}
    called_with_task_state: ClassVar[bool] = False
    after_restart: ClassVar[Mapping[TaskState, AfterRestart]] = {}
    event: ClassVar[str | None]
    pool: ClassVar[str] = "short"
    urgent: ClassVar[bool] = False
    undoes: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = ()

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tools = work.tools

    def load(self) -> None:  # noqa: B027  the request carries enough for some verbs
        """Fetch what the request lacks, before the plan is made."""

    @abstractmethod
    def plan(self) -> Plan:
        """Stages in order; the steps of one stage run in parallel."""

    def answer(self) -> Any:
        """What the caller gets after the plan was carried out: JSON-able, or a WireObject."""
        return None

    @abstractmethod
    def failed(self, failure: Failure) -> None:
        """Tell the API how it ended, after the steps were undone. May be repeated."""
