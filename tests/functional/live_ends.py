"""Live migrations that somebody disturbs: where they are disturbed, and how they are to end.

A module that uses the fixtures has one of its own, ``booted``: a LiveTrial whose server runs.
"""

from __future__ import annotations

import random

import pytest

from nova_lite.services.shared_storage import PREFIX
from tests import rotation
from tests.functional.live_trial import LIVE, Upset
from tests.functional.test_two_hosts import NOTHING, RUNS, at

PRE, POST = "pre_live_migration", "post_live_migration_at_destination"
ROLLBACK = "rollback_live_migration_at_destination"
REMOVE = "remove_volume_connection"
FILES = ("console.log", "disk", "disk.config", "disk.info")
ENDED_BADLY = ("failed", "error", "cancelled")


def ends(trial, *, lost=False):
    """The server is on one host, which is returned, and nothing of it is on the other one.

    :param lost: whether its guest may have lost its memory with the power
    """
    trial.await_calls()
    trial.deliver_casts()
    seen = trial.look_everywhere()
    host = seen["host"]
    here, other = at(seen, host), {"host1": "host2", "host2": "host1"}[host]
    assert at(seen, other) == NOTHING
    assert (seen["node"], seen["task_state"]) == (host, None)
    assert here["journal"] == []
    # What was shown to the other host goes with the next check, after a while.
    files = [name for name in here["files"] if not name.startswith(PREFIX)]
    assert files == [f"server/{name}" for name in FILES]
    assert trial.bindings() == ([host], [], [])
    assert seen["volumes"]["cinder"] == [("in-use", "attached")]
    assert trial.attachments() == ([host], host)
    allocations = trial.ledger.read()["allocations"]
    assert allocations == {trial.server: {host: {"VCPU": 1}}}
    assert (trial.migration()["status"] in ENDED_BADLY) == (host == "host1")
    assert trial.migration()["status"] in (*ENDED_BADLY, "completed")
    if lost and here["domain"] != RUNS:
        trial.set(task_state="powering-on")
        assert trial.delivered(host, trial.message("start_instance"))
        seen = trial.look_everywhere()
        here = at(seen, host)
    elif not lost:
        assert trial.boots(host) == (1 if host == "host1" else 0)
    assert (seen["vm_state"], seen["power_state"], here["domain"]) == ("active", 1, RUNS)
    assert (here["taps"], here["volumes"]["connected"], here["journal"]) == (1, 1, [])
    assert trial.disk_is_whole(host)
    return host


class Boundaries:
    """What agents pass, by method."""

    def __init__(self, trial, name, methods) -> None:
        """
        :param name: of the directory of the files that have them
        """
        where = trial.lab.directory / name
        where.mkdir()
        self._files = {method: where / method for method in methods}
        trial.upsets = {
            method: Upset(record=str(path)) for method, path in self._files.items()
            if method != LIVE
        }  # fmt: skip

    def file(self, method):
        return str(self._files[method])

    def of(self, method):
        return self._files[method].read_text().splitlines()


def refuse(trial):
    """Nobody has certificates."""
    trial.host.configure("live_migration_with_native_tls = true", "libvirt")


def target_killed(method, look):
    """What kills the target's agent at a boundary of a method: it is asked again, and does that
    once.

    :param look: says on which host the server is, wholly
    """

    def act(trial, boundary):
        trial.upsets[method] = Upset(kill=boundary)
        assert trial.delivered("host1", trial.request)
        assert look(trial) == "host2", boundary

    return act


@pytest.fixture
def trial(booted):
    booted.restore()
    return booted


@pytest.fixture
def sample(request):
    """Some of the boundaries at which something is to happen, or all."""
    full = request.config.getoption("--full")
    chance = random.Random(rotation.seed(request.config) + request.node.name)

    def choose(boundaries, number=1):
        return boundaries if full else chance.sample(boundaries, number)

    return choose


@pytest.fixture
def each(booted):
    """Do something at each of some boundaries, and tell of all that went wrong."""

    def do(boundaries, act):
        wrong = []
        for boundary in boundaries:
            booted.restore()
            try:
                act(booted, boundary)
            except AssertionError as error:
                wrong.append(f"{boundary}: {error}\n{booted.lab.said()}")
        assert not wrong, f"{len(wrong)} of {len(boundaries)}\n" + "\n\n".join(wrong)

    return do
