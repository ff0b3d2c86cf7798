"""What the verbs declare for servers without a journal; the survey goes by it."""

from __future__ import annotations

import pytest

from nova_lite.model.states import TaskState
from nova_lite.operations.base import Operation
from nova_lite.operations.restart import AfterRestart, Settlement, by_task_state
from nova_lite.rpc.endpoint import VERBS

# Servers in this one have no host: no survey touches them.
LEFT_ALONE = {TaskState.UNSHELVING}


def test_every_task_state_has_a_verb() -> None:
    """A new task state is declared where its verb is, or left alone on purpose."""
    assert set(TaskState) - LEFT_ALONE == set(by_task_state(VERBS))


def test_what_is_done_again_has_the_arguments_that_it_needs() -> None:
    """The verb would be refused without them, if it came as a message."""
    for method, rule in by_task_state(VERBS).values():
        if rule.settlement is Settlement.REDO:
            given = {
                *rule.arguments,
                *(["bdms"] if rule.with_mappings else []),
                *(["migration"] if rule.with_migration else []),
            }
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
