"""What an operation is: one verb of the compute RPC API as a plan of steps."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from nova_lite.errors import ServerBeingDeleted, ServerNotFound, UnexpectedTaskState
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState
from nova_lite.operations.notified import Notified
from nova_lite.operations.restart import AfterRestart
from nova_lite.services.ownership import Place
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.wire.decode import Kind

LOG = logging.getLogger(__name__)

HERE = frozenset({Place.HERE})
# Of operations that bring a server to this host, or begin while it has none.
HERE_OR_NOWHERE = frozenset({Place.HERE, Place.ARRIVING})
ANYWHERE = frozenset(Place)


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
    ``places``: where its server must be for it to have an effect, when it comes late; see
    ``services.ownership``.
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
    places: frozenset[Place] = HERE

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tools = work.tools
        # As the API has set it; the record changes while this goes on.
        self._asked_in = work.instance.get("task_state")

    def load(self) -> None:  # noqa: B027  the request carries enough for some verbs
        """Fetch what the request lacks, before the plan is made."""

    @abstractmethod
    def plan(self) -> Plan:
        """Stages in order; the steps of one stage run in parallel."""

    def answer(self) -> Any:
        """What the caller gets after the plan was carried out: JSON-able, or a WireObject."""
        return None

    def save_failed(self, **fields: Any) -> None:
        """Save what a failure leaves of the server, if nobody has begun anything else with it.

        The database compares the task state: a server that was evacuated, deleted or asked for
        something else meanwhile keeps what others have written. Repeating it is harmless.
        """
        work = self.work
        conditions: dict[str, Any] = {}
        if "task_state" in work.instance:
            expected = {self._asked_in, work.instance.get("task_state")}
            if self._asked_in is not None:
                expected.discard(None)  # a save of ours that failed may have set it
            conditions["expected_task_state"] = sorted(expected, key=str)
        try:
            self.tools.instances.save(work.context, work.instance, **conditions, **fields)
        except (UnexpectedTaskState, ServerBeingDeleted, ServerNotFound) as error:
            LOG.info("Server %s is about something else by now: %s", work.uuid, error)

    @abstractmethod
    def failed(self, failure: Failure) -> None:
        """Tell the API how it ended, after the steps were undone. May be repeated."""
