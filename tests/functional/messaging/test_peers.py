"""Two agents speak to each other over a real RabbitMQ."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite.errors import PeerTooOld, PeerUnavailable, ServerNotFound
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.functional.messaging.conductor import UUID
from tests.functional.messaging.conftest import RESPONSE_TIMEOUT

ADMIN = RequestContext.admin()
# As in stock: half an hour for the work, and a few seconds for the next sign of life.
LONG = 1800.0


@pytest.mark.core
@pytest.mark.parametrize("topic", ["compute", "compute-alt"])
def test_ping_both_ways(agents, peers_of, topic):
    """Each host reaches the other one, by its own queue and on both topics."""
    agents("one", "two")

    assert peers_of("one").ping("two", topic=topic) < 10
    assert peers_of("two").ping("one", topic=topic) < 10


@pytest.mark.parametrize(
    ("version", "pin", "topic"),
    [
        (72, None, "compute-alt"),  # 2026.1
        (71, "auto", "compute-alt"),
        (70, None, "compute"),  # 2025.2 does not listen on compute-alt
        (72, "flamingo", "compute"),
        (72, "6.4", "compute"),
    ],
)
def test_the_second_topic_is_for_hosts_that_listen_on_it(agents, peers_of, version, pin, topic):
    """A message on compute-alt for a stock host of 2025.2 would lie there for ever."""
    agents("two")
    groups = {"upgrade_levels": {"compute": pin}} if pin else None
    peers = peers_of("one", groups, two=version)

    answer = peers.call(ADMIN, "two", "check_instance_shared_storage", data={"filename": "x"})

    assert answer == f"two {topic}"


def test_methods_that_begin_something_stay_on_the_first_topic(agents, peers_of):
    """A host that shuts down takes nothing new."""
    agents("two")

    answer = peers_of("one", two=72).call(
        ADMIN, "two", "check_can_live_migrate_source", instance=None, dest_check_data=None
    )

    assert answer == "two compute"


def test_an_error_of_the_other_host_is_ours_and_names_it(agents, peers_of):
    """By its name among nova's exceptions."""
    agents("two")

    server = WireObject.new("Instance", "2.8", uuid=UUID)

    with pytest.raises(ServerNotFound, match=f"host two: Instance {UUID} could not be found"):
        peers_of("one", two=72).call(
            ADMIN, "two", "drop_move_claim_at_destination", instance=server
        )


def test_a_host_that_nobody_knows(broker, peers_of):
    """No Service record: nothing is sent."""
    with pytest.raises(PeerUnavailable, match="host three has no nova-compute service"):
        peers_of("one").call(ADMIN, "three", "check_instance_shared_storage", data={})


@pytest.mark.parametrize("kind", ["call", "cast"])
def test_a_host_without_a_queue(broker, peers_of, kind):
    """Its agent never ran since the broker was started: the broker says so, even of a cast."""
    peers = peers_of("one", three=72)
    began = time.monotonic()

    with pytest.raises(PeerUnavailable, match="host three has no queue on the message broker"):
        if kind == "call":
            peers.call(ADMIN, "three", "check_instance_shared_storage", data={})
        else:
            peers.cast(ADMIN, "three", "confirm_resize", instance=None, migration=None)

    assert time.monotonic() - began < RESPONSE_TIMEOUT + 10


def test_a_host_that_is_dead_has_a_queue_all_the_same(agents, peers_of):
    """The call ends with its timeout, and the message with it: nothing of it is done later."""
    (agent,) = agents("two")
    agent.kill()
    peers = peers_of("one", two=72)
    began = time.monotonic()

    with pytest.raises(PeerUnavailable, match=r"host two did not answer check_instance_shared"):
        peers.call(ADMIN, "two", "check_instance_shared_storage", data={"filename": "x"})

    assert RESPONSE_TIMEOUT - 1 < time.monotonic() - began < RESPONSE_TIMEOUT + 5


def at_work(peers, seconds, folder):
    """Have host two work for so long; returns what it answers."""
    return peers.call(
        ADMIN, "two", "pre_live_migration", instance=None, disk=None,
        migrate_data={"seconds": seconds, "folder": str(folder)},
    )  # fmt: skip


def test_a_long_call_outlives_the_time_for_a_plain_one(agents, peers_of, tmp_path):
    """The other host says all the time that it is at work."""
    agents("two")

    assert at_work(peers_of("one", two=72), 2.5 * RESPONSE_TIMEOUT, tmp_path) == "two compute-alt"


@pytest.mark.core
def test_a_long_call_ends_soon_when_the_other_host_dies(agents, peers_of, tmp_path):
    """Not after the half hour that the work may take."""
    (agent,) = agents("two")
    peers = peers_of("one", two=72)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(at_work, peers, 120, tmp_path)
        _until((tmp_path / "at-work").exists)
        time.sleep(RESPONSE_TIMEOUT)  # it has outlived one silence by now
        assert not asked.done()
        agent.kill()
        began = time.monotonic()

        with pytest.raises(PeerUnavailable, match="host two did not answer pre_live_migration"):
            asked.result()

    assert time.monotonic() - began < RESPONSE_TIMEOUT + 5


@pytest.mark.core
def test_who_waits_is_answered_by_the_next_process(agents, peers_of, tmp_path):
    """The agent is killed at work; what it has begun goes on, and the caller never knows."""
    (agent,) = agents("two")
    peers = peers_of("one", patience=30, two=72)
    server = WireObject.new("Instance", "2.8", uuid=UUID)
    at_work = tmp_path / "at-work"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            peers.call, ADMIN, "two", "prep_snapshot_based_resize_at_source", instance=server,
            migration=WireObject.new("Migration", "1.7"), snapshot_id=str(tmp_path),
        )  # fmt: skip
        _until(at_work.exists)
        agent.kill()
        agents("two")
        _until(lambda: len(at_work.read_text().splitlines()) == 2)
        (tmp_path / "go").touch()

        assert asked.result() == "done"


def test_an_argument_that_an_older_host_cannot_know(broker, peers_of):
    """delete_attachment came with compute RPC 6.3: without it the attachment would stay."""
    with pytest.raises(PeerTooOld, match=r"delete_attachment needs compute RPC 6\.3.*two.*6\.2"):
        peers_of("one", two=66).call(
            ADMIN, "two", "remove_volume_connection", instance=None, volume_id="v",
            delete_attachment=True,
        )  # fmt: skip


def test_hosts_reach_each_other_again_after_the_broker_was_restarted(broker, agents, peers_of):
    """Its queues are gone with it; the agents declare them anew."""
    agents("two")
    peers = peers_of("one", two=72)
    peers.ping("two")
    with broker.away():
        time.sleep(5)
    began = time.monotonic()
    _until(lambda: _answers(peers), 30)

    print(f"\nhosts reach each other {time.monotonic() - began:.1f} s after the broker is back")
    assert time.monotonic() - began < 30


def _answers(peers):
    try:
        return peers.ping("two", timeout=5)
    except Exception:
        return None


def _until(condition, patience=20.0):
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.05)
