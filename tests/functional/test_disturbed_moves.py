"""A resize to another host ends well whatever happens to either host, and to what they say.

At each boundary of each of its verbs the power fails, of the host that is at work; answers of the
conductor, of the broker and of the other host get lost; messages get lost, or come twice. Kills are
in ``test_two_hosts`` and ``test_move_ends``.
"""

from __future__ import annotations

import random

import pytest

from tests import rotation
from tests.functional.messages import evacuation_arguments
from tests.functional.test_move_ends import ask, is_back, is_kept, resized
from tests.functional.test_two_hosts import (
    MIGRATION,
    NOTHING,
    RUNS,
    at,
    begin_move,
    cast_to,
    is_resized,
    trial,  # noqa: F401  a fixture
)

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(1800)]

SAMPLE = 2  # boundaries of a verb at which the power fails, unless all are
# The verbs in order, for a move that is kept and one that is reverted.
EVACUATION = "cccccccc-2222-3333-4444-777777777777"
THERE = ("prep_resize", "resize_instance", "finish_resize")
BACK = ("revert_resize", "finish_revert_resize")
VERBS = (*THERE, "confirm_resize", *BACK)


class Way:
    """A move on its way: up to one verb, and on from there."""

    def __init__(self, trial, verb):  # noqa: F811
        self.trial = trial
        self.before = {
            **trial.look_everywhere(),
            "vcpus": trial.conductor.instance(trial.server)["vcpus"],
        }
        if verb in THERE:
            self.host, self.message = "host2", begin_move(trial, "host2")
            rest = THERE
        else:
            resized(trial)
            status = "confirming" if verb == "confirm_resize" else "reverting"
            more = {} if verb == "confirm_resize" else {"request_spec": None}
            self.host, self.message = ask(trial, rest_of(verb)[0], status, **more)
            rest = rest_of(verb)
        self.rest = list(rest[rest.index(verb) + 1 :])
        for earlier, later in zip(rest, rest[1 : rest.index(verb) + 1], strict=False):
            assert trial.hosts[self.host].run(self.message), earlier
            self.host, self.message = cast_to(trial, later)
        self.verb = verb

    @property
    def agent(self):
        return self.trial.hosts[self.host]

    def ends(self):
        """Deliver what the hosts cast to each other, each as often as it was sent and once more;
        the move is as it is to be then."""
        for method in self.rest:
            host, message = cast_to(self.trial, method)
            sent = sum(m == method for _, m, _ in self.trial.ledger.read()["sent"])
            for number in range(sent + 1):
                # The broker delivers one message twice, and a sender that resumes sends another.
                again = {**message, "request_id": f"{message['request_id']}-{number > 1}"}
                assert self.trial.hosts[host].run(again), method
        seen = self.trial.look_everywhere()
        if self.verb in THERE:
            is_resized(self.trial, seen)
        elif self.verb == "confirm_resize":
            is_kept(self.trial, seen)
        else:
            is_back(self.trial, seen, self.before)


def rest_of(verb):
    return (verb,) if verb == "confirm_resize" else BACK


@pytest.mark.parametrize("verb", VERBS)
def test_the_power_fails(trial, request, verb):  # noqa: F811
    """What a host had not synced it had not promised."""
    way = Way(trial, verb)
    trial.keep()
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    trial.restore()
    assert way.agent.run(way.message, record=str(record))
    passed = record.read_text().splitlines()
    if not request.config.getoption("--full"):
        passed = random.Random(rotation.seed(request.config)).sample(passed, SAMPLE)
    wrong = []
    for boundary in passed:
        trial.restore()
        assert not way.agent.run(way.message, kill=boundary, durable=True), boundary
        way.agent.lose_power()
        assert way.agent.run(joins=True), boundary
        try:
            way.ends()
        except (AssertionError, StopIteration) as error:
            wrong.append((boundary, error))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "revert_resize"])
def test_answers_get_lost(trial, verb):  # noqa: F811
    """Of the conductor, of the broker, and of the other host: it is asked again, and told twice."""
    way = Way(trial, verb)

    assert way.agent.run(way.message, lose_replies=True)

    way.ends()


def test_an_answer_about_the_files_gets_lost(trial):  # noqa: F811
    """Nothing is touched: the server stays where it went, and its user may revert again."""
    way = Way(trial, "revert_resize")
    before = trial.look_everywhere()

    assert way.agent.run(way.message, lose_replies=True)

    seen = trial.look_everywhere()
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("resized", None, "host2")
    for host in ("host1", "host2"):
        assert seen[host] == before[host]
    assert any("host1" in fault for fault in seen["faults"])
    way.host, way.message = ask(trial, "revert_resize", "reverting", request_spec=None)
    assert way.agent.run(way.message)
    way.ends()


@pytest.mark.parametrize("verb", ["finish_resize", "finish_revert_resize"])
def test_a_message_gets_lost(trial, verb):  # noqa: F811
    """With the broker: the host that the record names goes on when it starts again. It gets the
    server, or gives it back, and tells the other one once more."""
    way = Way(trial, verb)
    with trial.ledger.open() as content:
        content["sent"] = []
    if verb == "finish_revert_resize":
        way.rest = [verb]

    assert trial.hosts["host2"].run(joins=True)

    way.ends()


@pytest.mark.parametrize(
    ("verb", "boundary"),
    [
        ("resize_instance", "resize_instance:send_disks:end"),
        ("finish_resize", "finish_resize:define_guest:end"),
        ("finish_revert_resize", "finish_revert_resize:restore_kept:end"),
    ],
)
def test_the_power_of_both_hosts_fails(trial, verb, boundary):  # noqa: F811
    """The host that is not at work has nothing to go on with."""
    way = Way(trial, verb)
    assert not way.agent.run(way.message, kill=boundary, durable=True)
    (other,) = (host for name, host in trial.hosts.items() if name != way.host)
    assert other.run(durable=True)
    for host in (way.agent, other):
        host.lose_power()

    for host in (other, way.agent):
        assert host.run(joins=True)

    way.ends()


@pytest.mark.parametrize("boundary", ["keep_files:end", "send_disks:end"])
def test_a_server_whose_host_died_while_it_sent_it_is_evacuated(trial, boundary):  # noqa: F811
    """To the host that it was on its way to: what had come of it is no disk, and no shared storage.
    The old host has nothing of it when it is back."""
    way = Way(trial, "resize_instance")
    assert not way.agent.run(way.message, kill=f"resize_instance:{boundary}", durable=True)
    way.agent.lose_power()
    sent = trial.hosts["host2"].state / "instances" / trial.server
    (sent / "half").write_text("a part of a disk")
    trial.set(task_state="rebuilding")
    with trial.conductor.database() as tables:
        tables["Migration"]["1"]["created_at"] = "2026-01-01T00:00:00Z"
        row = {
            **tables["Migration"]["1"], "id": 2, "uuid": EVACUATION, "status": "accepted",
            "migration_type": "evacuation", "dest_compute": None, "dest_node": None,
        }  # fmt: skip
        tables["Migration"]["2"] = row
    message = trial.message("rebuild_instance", **evacuation_arguments(row))

    assert trial.hosts["host2"].run(message)

    seen = trial.look_everywhere()
    assert (seen["vm_state"], seen["task_state"], seen["host"]) == ("active", None, "host2")
    assert (seen["host2"]["domain"], seen["host2"]["taps"]) == (RUNS, 1)
    assert "server/half" not in seen["host2"]["files"]
    assert seen["faults"] == set()
    assert MIGRATION not in trial.ledger.read()["allocations"]
    assert [trial.conductor.read()["Migration"][n]["status"] for n in "12"] == ["error", "done"]

    assert trial.hosts["host1"].run(joins=True)

    after = trial.look_everywhere()
    assert at(after, "host1") == NOTHING
    assert after["host2"] == seen["host2"]
    assert trial.conductor.read()["Migration"]["2"]["status"] == "completed"
