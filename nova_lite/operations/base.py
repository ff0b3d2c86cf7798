"""What an operation is: one verb of the compute RPC API as a plan of steps."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from nova_lite.errors import ServerBeingDeleted, ServerNotFound, UnexpectedTaskState
from nova_lite.failures import Failure
from nova_lite.model.states import TaskState, VmState
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

    The engine calls, in this order: ``load``, ``plan``, the steps, ``answer``. When something
    fails, the steps before the plan's :class:`NoWayBack` are undone, unless it was passed, and
    ``failed`` tells the API. A process that resumes an operation calls ``load`` and ``plan`` again,
    also to roll back; what ``load`` raises then does not keep the steps from being undone.

    ``requires`` are the arguments, beside ``instance``, without which it cannot begin, each with
    its kind: ``str``, or ``WireObject | None`` where null is allowed, or ``object`` for anything.
    ``event`` is the name under which ``openstack server event show`` tells of it (None: it tells
    nothing, as in stock), ``pool`` the group of workers that runs it, ``urgent`` makes it interrupt
    what runs on the server now.
    ``beside``: it does not wait for what its server is doing now, for it is about that.
    ``answers``: somebody waits for :meth:`answer`, or for the error; who asks again with the same
    request gets the same, also after a restart. ``secrets`` are arguments that are kept nowhere:
    whoever resumes the operation reads them from the records. What no record has (passwords,
    files, the token) is in memory as long as the host runs; after a power failure ``work.lost``
    names it, and the operation says how it ends.
    ``places``: where its server must be for it to have an effect, when it comes late; see
    ``services.ownership``.
    ``called_with_task_state``: the API sets a task state before it calls, and does not clear it
    when the call is refused. ``after_restart`` says for each task state that this verb settles what
    is done with a server that is found in it at start-up and has no journal
    (``membership/survey.py``).
    ``rolls_back_unanswered``: its effect must not outlive a caller that was not answered, and that
    will not ask again; the answer leaves before the outcome is on disk, and is not kept.
    ``answer_ends_with_boot``: it tells of taps or connected volumes, which are gone when the host
    was rebooted; who asks again then gets an error.
    ``between_hosts``: another host has a part in it, so that faults name this one.
    ``last_resort`` is what the server's record becomes when ``failed`` itself fails.
    """

    requires: ClassVar[Mapping[str, Kind]] = {}
    called_with_task_state: ClassVar[bool] = False
    after_restart: ClassVar[Mapping[TaskState, AfterRestart]] = {}
    event: str | None
    pool: ClassVar[str] = "short"
    urgent: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = ()
    places: frozenset[Place] = HERE
    rolls_back_unanswered: ClassVar[bool] = False
    answer_ends_with_boot: ClassVar[bool] = False
    between_hosts: ClassVar[bool] = False
    last_resort: ClassVar[Mapping[str, Any]] = {"vm_state": VmState.ERROR, "task_state": None}

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tools = work.tools
        # As the API has set it; the record changes while this goes on.
        self._asked_in = work.instance.get("task_state")

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        """What of the server it is about, such as a volume id; empty: the server itself.

        Two messages of one request are the same operation when method, server and subject are.
        """
        return ""

    @classmethod
    def variant(cls, arguments: Mapping[str, Any]) -> type[Operation]:
        """The class that carries the request out: a method may mean two things, by its arguments.

        What both declare in their classes is the same.
        """
        return cls

    def load(self) -> None:  # noqa: B027  the request carries enough for some verbs
        """Fetch what the request lacks, before the plan is made."""

    @abstractmethod
    def plan(self) -> Plan:
        """Stages in order; the steps of one stage run in parallel."""

    def answer(self) -> Any:
        """What the caller gets after the plan was carried out: JSON-able, or a WireObject.

        It is kept on disk for a caller that asks again, so no secret may be in it.
        """
        return None

    def left_by_process(self) -> None:  # noqa: B027  most have nothing in memory
        """This process is done with it, however: give back what is held in memory only."""

    @property
    def past_return(self) -> bool:
        """Whether the plan's point of no return was passed; ``failed`` may go on from there."""
        return self.work.past_return

    def succeeded(self) -> bool:
        """Asked when something fails past the point of no return: whether it counts as done."""
        return False

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

    def tell(self, failure: Failure) -> None:
        """Record the fault that users see."""
        if self.between_hosts:
            failure = failure.told_by(self.tools.host)
        self.tools.actions.fault(self.work.context, self.work.uuid, failure)

    @abstractmethod
    def failed(self, failure: Failure) -> None:
        """Tell the API how it ended, after the steps were undone. May be repeated."""

    def abandon(self, failure: Failure) -> None:
        """Leave a fault and a record that the user can act on; called when ``failed`` fails."""
        work, tools = self.work, self.tools
        try:
            work.reload()
        except ServerNotFound:
            return
        if work.elsewhere or self._being_deleted():
            return
        changes = {
            field: value
            for field, value in self.last_resort.items()
            if work.instance.get(field) != value
        }
        busy = work.instance.get("task_state") or work.instance.get("vm_state") == VmState.BUILDING
        if self.last_resort and not (busy and changes):
            return  # told already
        self.tell(failure)
        if changes:
            tools.instances.save(work.context, work.instance, **changes)

    def abandon_in(self, tasks: Collection[str], failure: Failure) -> None:
        """Leave a fault and an end, if the server is still in one of these task states, whatever
        host its record names."""
        work, tools = self.work, self.tools
        try:
            work.reload()
        except ServerNotFound:
            return
        if work.instance.get("task_state") in tasks:
            self.tell(failure)
            tools.instances.save(work.context, work.instance, **self.last_resort)

    def _being_deleted(self) -> bool:
        """Whether a delete follows that ends the server's story."""
        return not self.urgent and self.work.instance.get("task_state") == TaskState.DELETING
