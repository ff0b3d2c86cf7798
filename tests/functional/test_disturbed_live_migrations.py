"""A server that goes to another host while it runs is on one of them, and runs once, whatever
happens to either host, to its agent, its libvirtd or its power, and to what they say.

Guest, libvirt and QEMU are real, on both hosts; so is the network between them.
"""

from __future__ import annotations

import time

import pytest

from nova_lite.errors import NovaLiteError
from tests.functional import prepare
from tests.functional.live_ends import (
    POST,
    PRE,
    REMOVE,
    ROLLBACK,
    Boundaries,
    each,
    ends,
    refuse,
    sample,
    target_killed,
    trial,
)
from tests.functional.live_trial import CHECK, LIVE, MIGRATION, LiveTrial, Upset

__all__ = ["each", "sample", "trial"]

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(3600)]

CHECKS = (CHECK, "check_can_live_migrate_source")
NOTICED_S = 6.0  # libvirt asks the other one each second whether it is there, and three times
# The agent is killed when it is told to, while libvirt copies.
KILLED_THEN = {"hypervisor.migrate#1": {"pause": "copying", "then": "kill"}}


@pytest.fixture(scope="module")
def booted(lab):
    """A server with a volume that runs on host1; what is on its disk is nowhere else."""
    made = lab.trial("host1", "host2", kind=LiveTrial)
    prepare.boot(made)
    prepare.attach_read_only_volume(made)
    made.mark_disk()
    made.get_ready()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def going(booted):
    """What a migration passes that nobody disturbs."""
    booted.restore()
    passed = Boundaries(booted, "going", (*CHECKS, PRE, LIVE, POST))
    message = booted.live_message(booted.check())
    assert booted.delivered("host1", message, record=passed.file(LIVE)), booted.lab.said()
    assert ends(booted) == "host2", booted.lab.said()
    return passed


@pytest.fixture(scope="module")
def refused(booted):
    """The same of one that libvirt refuses when everything is ready."""
    booted.restore()
    refuse(booted)
    passed = Boundaries(booted, "refused", (LIVE, REMOVE, ROLLBACK))
    assert booted.delivered("host1", booted.request, record=passed.file(LIVE)), booted.lab.said()
    assert ends(booted) == "host1", booted.lab.said()
    return passed


def slow_down(trial):
    """Far less than the guest writes: its memory never gets there by itself."""
    trial.host.configure("live_migration_bandwidth = 1", "libvirt")
    trial.await_writing()


# --- agents are killed --------------------------------------------------------------------------
@pytest.mark.core
def test_the_agent_of_the_source_is_killed(going, sample, each):
    """The next one goes on."""

    def act(trial, boundary):
        trial.kill(boundary)
        assert trial.delivered("host1")
        assert ends(trial) == "host2"

    each(sample(going.of(LIVE)), act)


@pytest.mark.parametrize("method", CHECKS)
def test_an_agent_is_killed_while_it_checks(going, sample, each, method):
    """Nothing is left of that, and the conductor may ask again."""

    def act(trial, boundary):
        trial.upsets[method] = Upset(kill=boundary)
        with pytest.raises(NovaLiteError):
            trial.check()
        assert trial.delivered("host1", trial.live_message(trial.check()))
        assert ends(trial) == "host2"

    each(sample(going.of(method)), act)


@pytest.mark.parametrize("method", [PRE, POST])
def test_the_agent_of_the_target_is_killed(going, sample, each, method):
    """It is asked again, and does that once."""
    each(sample(going.of(method)), target_killed(method, ends))


def test_the_agent_of_the_source_is_killed_while_it_takes_back(refused, sample, each):
    """What is taken back is what was done."""

    def act(trial, boundary):
        refuse(trial)
        trial.kill(boundary)
        assert trial.delivered("host1")
        assert ends(trial) == "host1"

    each(sample(refused.of(LIVE)), act)


@pytest.mark.parametrize("method", [REMOVE, ROLLBACK])
def test_the_agent_of_the_target_is_killed_while_it_gives_up(refused, sample, each, method):
    def act(trial, boundary):
        refuse(trial)
        trial.upsets[method] = Upset(kill=boundary)
        assert trial.delivered("host1", trial.request)
        assert ends(trial) == "host1"

    each(sample(refused.of(method)), act)


@pytest.mark.parametrize("verb", ["live_migration_force_complete", "live_migration_abort"])
def test_the_agent_is_killed_while_memory_goes(trial, verb):
    """libvirt goes on; the next agent finds it, and does with it as its user wants."""
    slow_down(trial)
    ended = trial.begin(trial.request, at=KILLED_THEN)
    trial.await_copy(ended)
    trial.go_on("copying")
    assert not ended.result()

    more = {"migration_id": MIGRATION["id"]} if verb == "live_migration_abort" else {}
    assert trial.delivered("host1", {**trial.message(verb, **more), "request_id": "req-verb"})

    assert ends(trial) == ("host1" if verb == "live_migration_abort" else "host2")


# --- the power fails ----------------------------------------------------------------------------
def test_the_power_of_the_source_fails(going, sample, each):
    """The server is where its guest is; one that has none is started on the host of its record."""

    def act(trial, boundary):
        trial.kill(boundary, durable=True)
        trial.lose_power("host1")
        assert trial.delivered("host1", joins=True)
        ends(trial, lost=True)

    each(sample(going.of(LIVE)), act)


def test_the_power_of_the_target_fails_while_it_prepares(going, sample, each):
    """It is asked again; what it has prepared by then is gone with the power, or not."""

    def act(trial, boundary):
        trial.upsets[PRE] = Upset(kill=boundary, power=True)
        assert trial.delivered("host1", trial.request)
        ends(trial)

    each(sample(going.of(PRE)), act)


def test_the_power_of_the_target_fails_when_the_guest_has_come(going, sample, each):
    """It can be started there: the other host has nothing of it any more."""

    def act(trial, boundary):
        trial.upsets[POST] = Upset(kill=boundary, power=True)
        assert trial.delivered("host1", trial.request)
        assert ends(trial, lost=True) == "host2"

    each(sample(going.of(POST)), act)


def test_the_power_of_the_target_fails_while_the_source_works(going, sample, each):
    """At each boundary of the source it is another host when it is asked again."""

    def act(trial, boundary):
        ended = trial.begin(trial.request, at={boundary: {"pause": "held"}})
        if not trial.await_pause(ended, "held"):
            assert ended.result()
            return
        trial.await_calls()  # an agent that is at work there would outlive its power here
        trial.lose_power("host2")
        assert trial.delivered("host2", joins=True)
        trial.go_on("held")
        assert ended.result()
        ends(trial, lost=True)

    each(sample(going.of(LIVE)), act)


@pytest.mark.parametrize("host", ["host1", "host2"])
def test_the_power_fails_while_memory_goes(trial, host):
    slow_down(trial)
    ended = trial.begin(
        trial.request, **({"at": KILLED_THEN, "durable": True} if host == "host1" else {})
    )
    trial.await_copy(ended)
    if host == "host1":
        trial.go_on("copying")
        assert not ended.result()
    trial.lose_power(host)
    assert trial.delivered(host, joins=True)
    if host == "host2":
        assert ended.result()

    assert ends(trial, lost=host == "host1") == "host1"


# --- answers are lost ---------------------------------------------------------------------------
def test_answers_of_the_conductor_get_lost(trial):
    """To both hosts, the first one of each kind."""
    trial.upsets = {method: Upset(lossy=True) for method in (*CHECKS, PRE, POST)}

    assert trial.delivered("host1", trial.live_message(trial.check()), lose_replies=True)

    assert ends(trial) == "host2", trial.lab.said()


@pytest.mark.parametrize("method", [PRE, POST])
def test_the_answer_of_the_target_gets_lost(trial, method):
    """It is asked again."""
    trial.upsets[method] = Upset(lost=True)

    assert trial.delivered("host1", trial.request)

    assert ends(trial) == "host2"


@pytest.mark.parametrize("method", CHECKS)
def test_the_answer_of_a_check_gets_lost(trial, method):
    trial.upsets[method] = Upset(lost=True)
    with pytest.raises(NovaLiteError):
        trial.check()

    assert trial.delivered("host1", trial.live_message(trial.check()))

    assert ends(trial) == "host2"


@pytest.mark.parametrize("method", [REMOVE, ROLLBACK])
def test_the_answer_of_who_gives_up_gets_lost(trial, method):
    refuse(trial)
    trial.upsets = {method: Upset(lost=True, lossy=True)}

    assert trial.delivered("host1", trial.request, lose_replies=True)

    assert ends(trial) == "host1"


# --- libvirt and the network --------------------------------------------------------------------
@pytest.mark.parametrize("host", ["host1", "host2"])
def test_libvirtd_is_killed_while_memory_goes(trial, host):
    """The guest goes on where it was."""
    slow_down(trial)
    ended = trial.begin(trial.request)
    trial.await_copy(ended)

    trial.hosts[host].daemon.kill_libvirtd()
    trial.hosts[host].daemon.start_libvirtd()

    assert ended.result()
    assert ends(trial) == "host1"


def test_the_cable_is_cut_while_memory_goes(trial):
    """The same. As long as it is cut nothing can be told of a guest whose disks are copied; the
    other host forgets the guest when it hears of that."""
    slow_down(trial)
    ended = trial.begin(trial.request)
    trial.await_copy(ended)

    trial.cut(off=True)
    try:
        time.sleep(NOTICED_S)
        assert not ended.done()
    finally:
        trial.cut(off=False)

    assert ended.result()
    assert ends(trial) == "host1"
