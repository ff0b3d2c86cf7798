"""Questions to nova-conductor that get lost, most of them with a broker that is restarted."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite.conductor.client import Conductor
from nova_lite.conductor.instances import Instances
from nova_lite.engine import patience
from nova_lite.rpc import transport
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.functional.messaging.conductor import UUID, StandInConductor

ADMIN = RequestContext.admin()
TARGET = 15.0  # seconds from the broker's return to the answer
BOUND = 2 * TARGET  # for machines that do something else, too


@pytest.fixture
def conductor(configured):
    made = StandInConductor(configured("controller"))
    yield made
    made.close()


@pytest.fixture
def instances(configured):
    connection = transport.make(configured("one"))
    yield Instances(Conductor(connection))
    connection.cleanup()


def after_a_restart(broker, seconds, ask, under_way):
    """Restart the broker while ``ask`` waits; returns its answer and the seconds until then."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        _until(under_way)
        with broker.away():
            time.sleep(seconds)
        back = time.monotonic()
        answer = asked.result()
        took = time.monotonic() - back
    print(f"\nanswered {took:.1f} s after the broker is back from {seconds} s")
    return answer, took


@pytest.mark.parametrize("seconds", [0, 20])
def test_an_answer_that_is_lost(broker, conductor, instances, seconds):
    """Asked again after seconds, not after the minute of rpc_response_timeout."""
    conductor.start()
    conductor.silent = 1

    answer, took = after_a_restart(
        broker, seconds, lambda: _patient(lambda: instances.get(ADMIN, UUID)),
        lambda: conductor.asked,
    )  # fmt: skip

    assert answer["uuid"] == UUID
    assert len(conductor.asked) > 1, "the first question was answered: nothing was tested"
    assert took < BOUND


def test_a_question_that_is_lost_in_the_queue(broker, conductor, instances):
    """No conductor had taken it; the first one comes back with the broker."""
    look = broker.login()
    channel = look.channel()
    channel.exchange_declare("nova", "topic", durable=False, auto_delete=False)
    channel.queue_declare("conductor", durable=False, auto_delete=False)
    channel.queue_bind("conductor", "nova", "conductor")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_patient, lambda: instances.get(ADMIN, UUID))
        _until(lambda: channel.queue_declare("conductor", passive=True).message_count)
        with broker.away():
            pass
        back = time.monotonic()
        conductor.start()

        assert asked.result()["uuid"] == UUID

    took = time.monotonic() - back
    print(f"\nanswered {took:.1f} s after the broker is back")
    assert took < BOUND


@pytest.mark.core
def test_a_save_whose_answer_is_lost_is_no_change_by_somebody_else(broker, conductor, instances):
    """The second attempt finds the task state of the first one."""
    conductor.start()
    conductor.silent = 1
    instance = WireObject.new("Instance", "2.8", **conductor.instance)
    instance.clear_changes()

    instances.save(
        ADMIN, instance, expected_task_state=["spawning"], vm_state="active", task_state=None
    )

    assert [what for what, _ in conductor.asked] == [
        "Instance.save", "Instance.save", "Instance.get_by_uuid",
    ]  # fmt: skip
    assert (conductor.instance["vm_state"], instance["vm_state"]) == ("active", "active")


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _patient(ask):
    """Ask as the engine does."""
    found = []
    patience.persist(lambda: found.append(ask()), threading.Event())
    return found[0]
