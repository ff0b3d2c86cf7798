"""The calls of nova-conductor for a move to another cell, as nova/compute/rpcapi.py makes them.

No recorded cloud had two cells: the arguments are written down from the source (2025.1 to 2026.2),
which sends each of these methods in version 6.0, with call monitoring.
"""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from nova_lite.peers.methods import METHODS
from nova_lite.rpc import endpoint
from nova_lite.rpc.dispatch import Dispatcher
from nova_lite.wire.objects import WireObject
from tests.unit.operations.two_cells import SNAPSHOT

RECORDED = Path(__file__).parent / "data" / "methods"
# Method -> its arguments, and those of them that may be null.
CALLS = {
    "prep_snapshot_based_resize_at_dest": (
        ("instance", "flavor", "nodename", "migration", "limits"), ("limits",),
    ),
    "prep_snapshot_based_resize_at_source": (
        ("instance", "migration", "snapshot_id"), ("snapshot_id",),
    ),
    "finish_snapshot_based_resize_at_dest": (
        ("instance", "migration", "snapshot_id"), ("snapshot_id",),
    ),
    "confirm_snapshot_based_resize_at_source": (("instance", "migration"), ()),
    "revert_snapshot_based_resize_at_dest": (("instance", "migration"), ()),
    "finish_revert_snapshot_based_resize_at_source": (("instance", "migration"), ()),
}  # fmt: skip


def recorded():
    return json.loads((RECORDED / "finish_resize.json").read_text())[0]["request"]["args"]


def arguments():
    known = recorded()
    limits = {
        "nova_object.name": "SchedulerLimits", "nova_object.namespace": "nova",
        "nova_object.version": "1.0",
        "nova_object.data": {
            "numa_topology": None, "vcpu": None, "disk_gb": None, "memory_mb": None,
        },
    }  # fmt: skip
    return {
        "instance": known["instance"], "migration": known["migration"],
        "flavor": known["instance"]["nova_object.data"]["new_flavor"], "nodename": "node4",
        "limits": limits, "snapshot_id": SNAPSHOT,
    }  # fmt: skip


class Engine:
    """Takes whatever is promised."""

    def __init__(self):
        self.accepted = []

    def promised(self, verb, context, uuid, arguments):
        return False

    def accept(self, verb, context, uuid, arguments):
        self.accepted.append((verb, arguments))
        self.entry = SimpleNamespace(answer=Future(), caller_waits_until=None)
        return self.entry

    def start(self, entry):
        entry.answer.set_result(None)


class Message(SimpleNamespace):
    reply_q, ctxt = "reply", {"request_id": "req-1"}

    def acknowledge(self):
        self.acknowledged = True


@contextmanager
def monitored(message):
    yield


def dispatched(method, args):
    """The engine that was given the message, the message, and the answer."""
    engine = Engine()
    message = Message(message={"method": method, "version": "6.0", "args": args})
    dispatcher = Dispatcher(
        endpoint.routes({}), endpoint.base_routes(), engine, lambda *told: None, monitored
    )
    return engine, message, dispatcher.dispatch(message)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("null", [False, True])
def test_a_call_is_understood_and_promised(method, null):
    """With what it needs, and its answer is waited for."""
    names, may_be_null = CALLS[method]
    args = {name: arguments()[name] for name in names}
    if null:
        args.update(dict.fromkeys(may_be_null))

    engine, message, answer = dispatched(method, args)

    assert message.acknowledged
    assert answer.result(1) is None
    ((verb, promised),) = engine.accepted
    assert verb == method
    assert promised.keys() == args.keys()
    assert isinstance(promised["migration"], WireObject)


def test_the_table_of_what_hosts_are_asked_knows_them():
    """They come late in a long request, and are served all the same; each waits for long."""
    for method, (names, _) in CALLS.items():
        assert METHODS[method].arguments == names
        assert METHODS[method].call and METHODS[method].long
