"""Messages that no nova service would send: refused by name, in the right channel, once.

Calls get an exception that nova-api knows, casts on a server leave an action event, a fault and no
task state; the message is gone from its queue, and the agent goes on as if nothing had been.
"""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.raw_amqp import TIMEOUT, RawAmqp, Refusal, require_consumers

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

TOKEN = "gAAAAA-hush-this-is-a-token"  # in every context that is sent here
PASSWORD = "hush-hush-password"


@pytest.fixture(scope="module")
def amqp(cloud, node) -> Iterator[RawAmqp]:
    client = RawAmqp(cloud, node)
    require_consumers(client)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def unharmed(cloud, node, amqp, no_leaks) -> Iterator[None]:
    """Whatever came, the same process answers on both topics and has logged no secret."""
    before, log = cloud.agent(node), cloud.agent_log(node)
    size = log.stat().st_size
    yield
    assert cloud.agent(node) == before, "the agent died"
    require_consumers(amqp)
    for topic in ("compute", "compute-alt"):
        assert amqp.waiting(f"{topic}.{node}") == 0
    with log.open("rb") as file:
        file.seek(size)
        said = file.read().decode(errors="replace")
    for secret in (TOKEN, PASSWORD, *cloud.secrets().values()):
        assert not secret or secret not in said, "a secret was logged"


@pytest.fixture(scope="module")
def instance(amqp, server) -> dict[str, Any]:
    """The running server as its Instance object is on the wire."""
    return fetch(amqp, server["id"])


def fetch(amqp: RawAmqp, server_id: str) -> dict[str, Any]:
    """An Instance from nova-conductor."""
    answer = amqp.ask_conductor(
        "Instance.get_by_uuid", [server_id], {"expected_attrs": ["flavor", "system_metadata"]}
    )
    assert answer["nova_object.name"] == "Instance"
    return answer


def changed(instance: dict[str, Any], version: str | None = None, **fields: Any) -> dict[str, Any]:
    result = copy.deepcopy(instance)
    result["nova_object.data"].update(fields)
    if version:
        result["nova_object.version"] = version
    return result


# --- calls ---------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "unknown method": ("make_coffee", {}, {}, "unknown RPC method 'make_coffee'"),
    "no arguments": ("get_console_output", {}, {}, "argument"),
    "other arguments": ("external_instance_event", {"milk": 1}, {}, "wrong arguments.*instances"),
    "arguments that are none": ("get_host_uptime", [1, 2], {}, "no argument dictionary"),
    "an instance that is none": ("get_console_output", {"instance": 7, "tail_length": None}, {},
                                 "argument 'instance' is a int"),
    "half an object": ("get_host_uptime", {"x": {"nova_object.name": "Instance"}}, {},
                       "not a Nova object"),
    "unknown namespace": ("get_host_uptime", {}, {"namespace": "cells"},
                          "unknown RPC namespace 'cells'"),
    "a namespace that is none": ("get_host_uptime", {}, {"namespace": [1]}, "namespace"),
    "version 5.0": ("get_host_uptime", {}, {"version": "5.0"}, r"5\.0.*6\.x.*upgrade_levels"),
    "version 7.0": ("get_host_uptime", {}, {"version": "7.0"}, r"7\.0.*6\.x"),
    "no version at all": ("get_host_uptime", {}, {"version": "new"}, "version new"),
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("topic", ["compute", "compute-alt"])
@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call(amqp, case, topic):
    """HTTP 400 for whoever asked, with what is wrong in words and nothing of the inside."""
    method, arguments, more, match = CALLS[case]
    answer = amqp.call(method, arguments, topic=topic, context={"auth_token": TOKEN}, **more)
    assert isinstance(answer, Refusal), answer
    assert (answer.name, answer.code) == ("nova.exception.Invalid", 400), answer
    assert re.search(match, answer.message), answer
    assert TOKEN not in answer.text
    assert "/nova_lite/" not in answer.text, "no traceback of ours travels"


def test_a_call_from_the_future(amqp):
    """Version 6.99 may have more arguments, but none that are needed."""
    answer = amqp.call("get_host_uptime", {"milk": 1}, version="6.99")
    assert "load average" in answer


def test_what_is_not_supported_yet(amqp, instance):
    """The API answers 501 to it."""
    answer = amqp.call("get_instance_diagnostics", {"instance": instance})
    if isinstance(answer, Refusal):
        assert answer.name == "builtins.NotImplementedError"
        assert "get_instance_diagnostics" in answer.message


def test_a_server_that_is_not_here(amqp, instance):
    """An instance that this host has never seen."""
    stranger = changed(instance, uuid=str(uuid.uuid4()))
    answer = amqp.call("get_console_output", {"instance": stranger, "tail_length": 5})
    assert isinstance(answer, Refusal)
    assert answer.name.startswith("nova.exception."), answer
    assert answer.code != 500 or answer.name != "nova.exception.NovaException", answer


# --- what is not even a message ------------------------------------------------------------------

GARBAGE: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": ("hello", {}),
    "a list": ([1, 2, 3], {}),
    "an empty dictionary": ({}, {}),
    "bytes": (b"\x00\xff\x17", {"content_type": "application/data", "content_encoding": "binary"}),
    "broken JSON": (b'{"oslo.version": "2.0", "oslo.message": "{\\"meth',
                    {"content_type": "application/json", "content_encoding": "utf-8"}),
    "a message that is not JSON": ({"oslo.version": "2.0", "oslo.message": "<xml/>"}, {}),
    "a message that is a number": ({"oslo.version": "2.0", "oslo.message": "7"}, {}),
    "a future envelope": ({"oslo.version": "9.0", "oslo.message": "{}"}, {}),
    "no method": ({"oslo.version": "2.0", "oslo.message": "{}"}, {}),
    "a method that is a list": ({"oslo.version": "2.0", "oslo.message": '{"method": [1]}'}, {}),
    "a reply address that is nonsense": (
        {"oslo.version": "2.0",
         "oslo.message": '{"method": "ping", "args": {}, "_reply_q": 5, "_msg_id": {}}'}, {}),
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(amqp, node, case):
    """Taken from the queue, thrown away, and the next message is served."""
    body, properties = GARBAGE[case]
    if isinstance(body, bytes):
        amqp.publish(body, **properties)
    else:
        amqp.publish(body, serializer="json", **properties)
    wait_for("empty queue", lambda: amqp.waiting(f"compute.{node}") == 0, 10)


def test_a_huge_message(amqp):
    """Twenty megabytes of nothing: refused like any other."""
    answer = amqp.call("make_coffee", {"padding": "x" * 20_000_000}, seconds=60)
    assert isinstance(answer, Refusal), answer
    assert len(answer.text) < 10_000, "what was sent is not sent back"


def test_a_caller_that_is_gone(amqp):
    """The queue of the answer does not exist: given up, while others are served."""
    amqp.cast("get_host_uptime", {}, message={"_msg_id": "1", "_reply_q": "reply_nobody"})
    assert amqp.call("ping", {"arg": 1}, namespace="baseapi", version="1.0") is not TIMEOUT


# --- casts ---------------------------------------------------------------------------------------


def cast_and_watch(api, amqp, server_id, method, arguments, **more) -> dict[str, Any]:
    """Send a cast as the API would, with an action open for it; returns the action's record."""
    request = f"req-{uuid.uuid4()}"
    context = {"request_id": request, "auth_token": TOKEN, **more.pop("context", {})}
    amqp.ask_conductor(
        "InstanceAction.action_start", [server_id, "stop"], {"want_result": False},
        context=context,
    )  # fmt: skip
    amqp.cast(method, arguments, context=context, **more)

    def look() -> dict[str, Any] | None:
        path = f"/servers/{server_id}/os-instance-actions/{request}"
        response = api.call("GET", path, ok=False)
        if not response.ok:
            return None
        record = response.json()["instanceAction"]
        ended = [event for event in record["events"] if event["result"]]
        return record if ended and len(ended) == len(record["events"]) else None

    return wait_for(f"event of {method}", look, 30)


CASTS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, str]] = {
    "version 5.0": ("stop_instance", {"clean_shutdown": True}, {"version": "5.0"},
                    "compute_stop_instance", "upgrade_levels"),
    "a missing argument": ("reboot_instance", {}, {}, "compute_reboot_instance", "reboot_type"),
    "an argument of another type": ("reboot_instance", {"reboot_type": 7}, {},
                                    "compute_reboot_instance", "'reboot_type' is a int"),
    "an unknown method": ("freeze_instance", {}, {}, "compute_freeze_instance",
                          "unknown RPC method 'freeze_instance'"),
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("case", CASTS)
def test_a_wrong_cast_on_a_server(api, amqp, server, instance, case):
    """The user finds out: the action ends with Error, the task state is clear, a fault says why."""
    method, arguments, more, event, match = CASTS[case]
    uuid_ = server["id"]
    amqp.save(instance, task_state="powering-off")
    sent = {"instance": changed(instance, task_state="powering-off"), **arguments}
    record = cast_and_watch(api, amqp, uuid_, method, sent, **more)
    (found,) = record["events"]
    assert (found["event"], found["result"]) == (event, "Error")
    assert re.search(match, found["details"] or found["traceback"]), found
    assert TOKEN not in str(record)
    after = api.wait_idle(uuid_, 20)
    assert after["status"] == "ACTIVE"


def test_an_instance_of_another_major_version(api, amqp, server, instance):
    """3.0 may mean anything: not touched, and said so."""
    amqp.save(instance, task_state="powering-off")
    future = changed(instance, "3.0", vm_state="melted", task_state="powering-off")
    record = cast_and_watch(api, amqp, server["id"], "stop_instance",
                            {"instance": future, "clean_shutdown": True})  # fmt: skip
    assert record["events"][0]["result"] == "Error"
    assert api.wait_idle(server["id"], 20)["status"] == "ACTIVE"


@pytest.mark.parametrize("bad", [{}, {"uuid": None}, {"uuid": "../../etc"}, {"uuid": ["a"]}])
def test_an_instance_without_a_uuid(cloud, node, amqp, instance, bad):
    """Nobody can be told but the log."""
    anonymous = changed(instance, **bad)
    if not bad:
        del anonymous["nova_object.data"]["uuid"]
    request = amqp.cast("stop_instance", {"instance": anonymous, "clean_shutdown": True})
    log = cloud.agent_log(node)
    wait_for("a line about it", lambda: request in log.read_text(errors="replace"), 10)
    (line,) = [line for line in log.read_text(errors="replace").splitlines() if request in line]
    assert "Refused message stop_instance" in line and "no uuid" in line


def test_an_instance_of_a_future_minor_version(api, amqp, server, instance):
    """2.99 with fields that nobody knows yet: carried out, and the record takes no harm."""
    uuid_ = server["id"]
    future = changed(instance, "2.99", colour="green", shape={"nova_object.name": "Shape",
                     "nova_object.namespace": "nova", "nova_object.version": "1.0",
                     "nova_object.data": {"corners": 3}})  # fmt: skip
    amqp.save(instance, task_state="rebooting_hard")
    record = cast_and_watch(
        api, amqp, uuid_, "reboot_instance",
        {"instance": future, "reboot_type": "HARD", "block_device_info": None}, version="6.99",
    )  # fmt: skip
    assert [event["result"] for event in record["events"]] == ["Success"], record
    assert api.wait_idle(uuid_)["status"] == "ACTIVE"
    assert "colour" not in fetch(amqp, uuid_)["nova_object.data"]


@pytest.mark.core
def test_the_same_message_twice(api, amqp, server, instance):
    """A broker that failed over delivers again: one effect."""
    uuid_ = server["id"]
    request, unique = f"req-{uuid.uuid4()}", uuid.uuid4().hex
    context = {"request_id": request}
    amqp.ask_conductor("InstanceAction.action_start", [uuid_, "reboot"], {"want_result": False},
                       context=context)  # fmt: skip
    amqp.save(instance, task_state="rebooting_hard")
    arguments = {"instance": instance, "reboot_type": "HARD", "block_device_info": None}
    for _ in range(3):
        amqp.cast("reboot_instance", arguments, context=context, message={"_unique_id": unique})
    amqp.cast("reboot_instance", arguments, context=context)  # another message, the same request
    wait_for("reboot", lambda: api.server(uuid_)["OS-EXT-STS:task_state"] is None, 60)
    path = f"/servers/{uuid_}/os-instance-actions/{request}"
    events = api.call("GET", path)["instanceAction"]["events"]
    assert [event["event"] for event in events] == ["compute_reboot_instance"]


def test_passwords_in_a_message_stay_there(amqp, instance):
    """admin_pass of a method that is refused (or not): nowhere in the log or in the answer."""
    answer = amqp.call(
        "set_admin_password", {"instance": instance, "new_pass": PASSWORD, "milk": 1},
        context={"auth_token": TOKEN},
    )  # fmt: skip
    assert isinstance(answer, Refusal)
    assert PASSWORD not in answer.text and TOKEN not in answer.text


# --- others' queues ------------------------------------------------------------------------------


@pytest.mark.core
def test_a_build_without_what_it_needs(api, amqp, node, garbage):
    """A boot that cannot begin ends as one that failed: ERROR with a fault, not BUILD for ever."""
    requested = api.boot(node, networks="none")["id"]
    garbage.server(requested)
    instance = fetch(amqp, requested)
    amqp.save(instance, vm_state="building", task_state="scheduling")
    instance = fetch(amqp, requested)
    record = cast_and_watch(api, amqp, requested, "build_and_run_instance",
                            {"instance": instance, "admin_password": PASSWORD})  # fmt: skip
    (event,) = record["events"]
    assert event["event"] == "compute__do_build_and_run_instance"
    assert event["result"] == "Error"
    found = api.wait_idle(requested, 20)
    assert found["status"] == "ERROR"
    assert "lacks its argument" in found["fault"]["message"]
    assert PASSWORD not in str(found["fault"])
