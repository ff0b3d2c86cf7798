"""Questions to the conductor: how long an answer is waited for, and which are asked again."""

from __future__ import annotations

import oslo_messaging as messaging
import pytest

from nova_lite.conductor import repeats
from nova_lite.conductor.client import Conductor
from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS
from tests.fakes.transport import FakeTransport

ADMIN = RequestContext.admin()
SILENCE = (messaging.MessagingTimeout(),) * 9
AGAIN = [8.0, 16.0, 60.0]
ONCE = [60.0]


def waits_of(ask):
    """Seconds that each attempt waits, when nobody answers."""
    transport = FakeTransport(answers=SILENCE)
    with pytest.raises(ControlPlaneUnavailable, match="nova-conductor did not answer"):
        ask(Conductor(transport))
    return [sent.timeout for sent in transport.sent]


@pytest.mark.parametrize(
    ("method", "waits"),
    [
        ("Instance.get_by_uuid", AGAIN),
        ("InstanceList._get_active_by_window_joined", AGAIN),
        ("TaskLog.get", AGAIN),
        ("Service.get_minimum_version", AGAIN),
        ("VirtualInterface.delete_by_instance_uuid", AGAIN),
        ("InstanceActionEvent.event_finish_with_failure", AGAIN),
        ("InstanceAction.action_start", ONCE),
    ],
)
def test_class_methods(method, waits):
    """A second row would be another effect; what only reads may be repeated."""
    assert waits_of(lambda conductor: conductor.class_call(ADMIN, method)) == waits


@pytest.mark.parametrize(
    ("name", "method", "arguments", "waits"),
    [
        ("Instance", "save", {}, AGAIN),
        ("Instance", "destroy", {}, AGAIN),
        ("InstanceFault", "create", {}, AGAIN),
        ("InstanceGroup", "get_hosts", {}, AGAIN),
        ("VolumeUsage", "save", {"update_totals": False}, AGAIN),
        ("VolumeUsage", "save", {"update_totals": True}, ONCE),
        ("BlockDeviceMapping", "create", {}, ONCE),
        ("TaskLog", "begin_task", {}, ONCE),
    ],
)
def test_methods_of_objects(name, method, arguments, waits):
    """Saves of plain values may be repeated, sums and new rows may not."""
    obj = WireObject.new(name, VERSIONS[name], id=1)

    asked = waits_of(lambda conductor: conductor.object_call(ADMIN, obj, method, **arguments))

    assert asked == waits


def test_every_repeatable_method_is_of_a_known_class():
    """A typo in the table would take the speed from a method in silence."""
    assert {name.partition(".")[0] for name in repeats.REPEATABLE} <= set(VERSIONS)


@pytest.mark.parametrize(("limit", "waits"), [(60, AGAIN), (10, [8.0, 10.0]), (5, [5.0])])
def test_no_attempt_waits_longer_than_the_option_says(limit, waits):
    """rpc_response_timeout bounds them."""
    transport = FakeTransport(answers=SILENCE)
    conductor = Conductor(transport)
    transport.conf.set_override("rpc_response_timeout", limit)

    with pytest.raises(ControlPlaneUnavailable):
        conductor.class_call(ADMIN, "Instance.get_by_uuid", "uuid")

    assert [sent.timeout for sent in transport.sent] == waits


def test_a_second_answer_is_as_good():
    """Nobody above hears of the first attempt."""
    transport = FakeTransport(answers=(messaging.MessagingTimeout(), {"result": 7}))

    assert Conductor(transport).class_call(ADMIN, "Service.get_minimum_version") == {"result": 7}
    first, second = transport.sent
    assert first.message["args"] == second.message["args"]


def test_the_broker_says_when_nobody_gets_a_message():
    """Calls and casts: in silence a cast would be lost, and a call waited for."""
    transport = FakeTransport(answers=(None, None, {"service": "conductor", "arg": "nova_lite"}))
    conductor = Conductor(transport)

    conductor.class_cast(ADMIN, "InstanceActionEvent.event_start", "uuid", "compute_start_instance")
    conductor.task_cast(ADMIN, "build_instances", "1.19", instances=[])
    conductor.ping(timeout=10)

    assert [sent.mandatory for sent in transport.sent] == [True] * 3
    assert [sent.call for sent in transport.sent] == [False, False, True]
    assert [sent.message.get("namespace") for sent in transport.sent] == [
        None, "compute_task", "baseapi",
    ]  # fmt: skip
