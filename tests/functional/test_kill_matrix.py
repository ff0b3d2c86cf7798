"""kill -9, lost answers and power failures at every boundary of every operation, on real libvirt.

An agent's engine runs in a process of its own (``victim``) with stand-ins for the control plane
whose state is on disk. It is killed at one boundary: when a step begins, when it has ended, and
after each single effect that it had outside (a call of the conductor, a port, a tap, a guest). A
second process resumes from the journal; then all ledgers must look as if nothing had happened: the
server's record, faults and events, the hypervisor, the files, the taps, the ports, the allocations,
the volumes, what was cast to the conductor, and the journal.

Each operation is also carried out while the first answer to every call of the conductor is lost.

And the power fails at a boundary: the process dies, and with it goes what was not synced (the end
of the journal, names of files that were made or removed), guests are off, taps and connections of
volumes are gone. The next agent starts as it does in earnest, with
resume_guests_state_on_host_boot.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import rotation
from tests.functional.scenario_ends import prepared, undisturbed, without_power
from tests.functional.scenarios import SCENARIOS

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(900)]

AT_ONCE = 2  # hosts whose agents are disturbed in parallel
LOST = "answers are lost"
POWER = "power failure at "
# Every so many of these is the place of a kill or of a power failure, unless all are.
ENDS, EFFECTS, POWER_FAILURES = 2, 6, 5
# What is killed in every run; the others take turns (tests/rotation.py).
CORE = {
    "boot", "boot, fails, no retry", "delete", "stop", "start", "reboot hard", "suspend", "rescue",
    "rebuild", "snapshot, live", "shelve", "unshelve", "attach", "detach", "boot, volumes",
    "attach interface", "detach interface",
}  # fmt: skip
assert CORE <= SCENARIOS.keys()


def disturb(trial, scenario, how):
    """Kill at a boundary or fail the power there and resume, or lose answers; what was wrong with
    that, if anything."""
    message = trial.message(scenario.method, **scenario.arguments)
    if how == LOST:
        assert trial.run(message, lose_replies=True, **scenario.how)
        return None
    if how.startswith(POWER):
        survived = trial.run(
            message, kill=how.removeprefix(POWER), durable=True, **scenario.how
        )
        trial.host.lose_power()
        trial.run(joins=True, **scenario.how)
    else:
        survived = trial.run(message, kill=how, **scenario.how)
        trial.run(**scenario.how)
    return "the victim did not pass it" if survived else None


def differences(trial, scenario, disturbances, wanted):
    """Disturb in each of these ways, and compare the ends."""
    found = {}
    for how in disturbances:
        trial.restore()
        wrong = disturb(trial, scenario, how)
        seen = trial.look()
        if how.startswith(POWER):
            seen = without_power(seen, wanted, scenario)
        if wrong or seen != wanted:
            found[how] = wrong or {k: (seen[k], wanted[k]) for k in wanted if seen[k] != wanted[k]}
    trial.clear()
    return found


def chosen(passed, name, known, seed):
    """Where to kill, and where the power fails: at samples of the boundaries.

    Between the end of a step and the beginning of the next one nothing happens but a line in the
    journal, so that one of the two will do. Effects are those that no earlier scenario of the
    method had; what fails is not cut off where they ended the same step.

    :param known: boundaries of this method's earlier scenarios
    :param seed: chooses the sample
    """
    fails = bool(SCENARIOS[name].how)
    choice = random.Random(f"{seed} {name}")

    def sample(boundaries, share):
        return set(choice.sample(boundaries, -(-len(boundaries) // share)))

    def is_end(boundary):
        of_a_step = boundary.count(":") == 2
        return "#" not in boundary and not (
            boundary.endswith((":begin", ":undo")) or (fails and of_a_step and boundary in known)
        )

    kills = sample([b for b in passed if is_end(b)], ENDS) | sample(
        [b for b in passed if "#" in b and b not in known], EFFECTS
    )
    power = sample(passed, POWER_FAILURES)
    return [b for b in passed if b in kills] + [POWER + b for b in passed if b in power]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.core] * (name in CORE)) for name in SCENARIOS],
)
def test_killed_at_every_boundary_it_ends_as_without(lab, name, request):
    """Whatever boundary the agent dies at, its successor brings all ledgers to the same end."""
    scenario = SCENARIOS[name]
    # libvirt keeps one secret for an encrypted volume.
    at_once = 1 if scenario.encrypted else AT_ONCE
    with ThreadPoolExecutor(at_once) as workers:
        trials = list(workers.map(prepared, [lab] * at_once, [scenario] * at_once))
        passed, wanted = undisturbed(trials[0], scenario)
        if request.config.getoption("--full"):
            disturbances = [*passed, *(POWER + boundary for boundary in passed)]
        else:
            known = lab.passed[scenario.method]
            disturbances = chosen(passed, name, known, rotation.seed(request.config))
            known.update(passed)
        disturbances.insert(0, LOST)
        found = [
            workers.submit(differences, trial, scenario, disturbances[turn::at_once], wanted)
            for turn, trial in enumerate(trials)
        ]
    wrong = {where: what for part in found for where, what in part.result().items()}
    assert not wrong, "\n".join(f"{where}: {what}" for where, what in wrong.items())
