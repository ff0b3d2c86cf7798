"""What the hypervisor says of a guest's power."""

from __future__ import annotations

import pytest

from nova_lite.errors import DomainNotFound, HypervisorUnavailable
from nova_lite.model.states import PowerState
from nova_lite.services.power_state import is_on, is_running, power_state


class Hypervisor:
    def __init__(self, answer):
        self._answer = answer

    def power_state(self, uuid):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("state", "on", "running"),
    [
        (PowerState.RUNNING, True, True),
        (PowerState.PAUSED, True, False),
        (PowerState.SUSPENDED, True, False),
        (PowerState.SHUTDOWN, False, False),
        (PowerState.CRASHED, False, False),
        (PowerState.NOSTATE, False, False),
    ],
)
def test_a_guest_that_is_held_is_on_but_does_not_run(state, on, running):
    """Only a running guest executes instructions; one that is held has power."""
    hypervisor = Hypervisor(state)

    assert (is_on(hypervisor, "a"), is_running(hypervisor, "a")) == (on, running)


def test_a_guest_that_is_not_there_has_no_power():
    """Its absence is an answer, not an error."""
    hypervisor = Hypervisor(DomainNotFound("no guest"))

    assert power_state(hypervisor, "a") == PowerState.NOSTATE
    assert not is_on(hypervisor, "a")


def test_a_hypervisor_that_does_not_answer_tells_nothing():
    """Nobody may take that for a guest that is off."""
    with pytest.raises(HypervisorUnavailable):
        is_on(Hypervisor(HypervisorUnavailable("down")), "a")
