"""What the verbs declare for servers without a journal, held to the rules of the survey."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.failures import Failure
from nova_lite.membership.survey import Survey
from nova_lite.model.host import DomainInfo
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.operations.base import Operation
from nova_lite.operations.restart import AfterRestart, Settlement, by_task_state
from nova_lite.rpc.endpoint import VERBS
from nova_lite.wire.objects import WireObject

# Its verb is not supported yet, so that no declaration holds for it.
WITHOUT_VERB = {TaskState.RESIZE_PREP}
# The server has no host yet, so that no survey sees it.
LEFT_ALONE = {TaskState.UNSHELVING}

TASKS = [task for task in TaskState if task not in WITHOUT_VERB]
Did = list[tuple[Any, ...]]


class Recorder:
    """Stands for all that the survey acts upon: what was done, in order."""

    def __init__(self) -> None:
        self.did: Did = []

    def save(self, context: Any, instance: WireObject, **fields: Any) -> None:
        self.did.append(("save", fields))

    def fault(self, context: Any, uuid: str, failure: Failure) -> None:
        self.did.append(("fault",))

    def of_server(self, context: Any, uuid: str) -> list[WireObject]:
        return []

    def begin(self, method: str, context: Any, uuid: str, arguments: dict[str, Any]) -> None:
        arguments.pop("instance")
        self.did.append(("begin", method, arguments.pop("bdms", None) is not None, arguments))


def surveyed(vm_state: VmState, task: TaskState, power: PowerState) -> Did:
    recorder: Any = Recorder()
    conf = SimpleNamespace(host="h", resume_guests_state_on_host_boot=False)
    instance = WireObject.new(
        "Instance", "2.8", uuid="u", host="h", vm_state=vm_state, task_state=task
    )
    Survey(conf, recorder, recorder, recorder, recorder).run(
        [instance], [DomainInfo("u", "d", power)], set()
    )
    return list(recorder.did)


def declared(vm_state: VmState, task: TaskState, power: PowerState) -> Did:
    method, rule = by_task_state(VERBS).get(task, ("", None))
    if rule is None or (vm_state == VmState.ERROR and not rule.in_error):
        return []
    if rule.settlement is Settlement.CLEAR:
        return [("save", {"task_state": None})]
    if rule.settlement is Settlement.FAIL:
        return [("fault",), ("save", {"vm_state": VmState.ERROR, "task_state": None})]
    if rule.unless_running and power == PowerState.RUNNING:
        running = {"vm_state": VmState.ACTIVE, "task_state": None, "power_state": 1}
        return [("save", running)]
    redo = ("begin", method, rule.with_mappings, dict(rule.arguments))
    return [*([("save", {"task_state": rule.task_state})] if rule.task_state else []), redo]


@pytest.mark.parametrize("power", [PowerState.RUNNING, PowerState.SHUTDOWN])
@pytest.mark.parametrize("vm_state", [VmState.ACTIVE, VmState.ERROR])
@pytest.mark.parametrize("task", TASKS)
def test_the_declarations_say_what_the_survey_does(
    task: TaskState, vm_state: VmState, power: PowerState
) -> None:
    """Method, arguments, and what is saved before, for every task state there is."""
    did = [
        # A server that is unrescued has that task state already.
        entry for entry in surveyed(vm_state, task, power)
        if (entry, task) != (("save", {"task_state": task}), TaskState.UNRESCUING)
    ]  # fmt: skip

    assert did == declared(vm_state, task, power)


def test_every_task_state_has_a_verb() -> None:
    """A new task state is declared where its verb is, or left alone on purpose."""
    assert set(TASKS) - LEFT_ALONE == set(by_task_state(VERBS))


def test_what_is_done_again_has_the_arguments_that_it_needs() -> None:
    """The verb would be refused without them, if it came as a message."""
    for method, rule in by_task_state(VERBS).values():
        if rule.settlement is Settlement.REDO:
            given = {*rule.arguments, *(["bdms"] if rule.with_mappings else [])}
            assert set(VERBS[method].requires) <= given


def verb(rule: AfterRestart) -> type[Operation]:
    class Verb(Operation):
        after_restart = {TaskState.SPAWNING: rule}

    return Verb


def test_two_verbs_must_not_settle_one_task_state_differently() -> None:
    """Nor do it twice; that one of them clears it is enough."""
    clear, redo = AfterRestart(Settlement.CLEAR), AfterRestart(Settlement.REDO)

    assert by_task_state({"a": verb(clear), "b": verb(clear)})
    for pair in ((clear, redo), (redo, redo)):
        with pytest.raises(ValueError, match="a and b both settle the task state spawning"):
            by_task_state({"a": verb(pair[0]), "b": verb(pair[1])})
