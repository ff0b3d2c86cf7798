"""What stock nova-compute 2026.2 sent for a server, and what is sent here for the same server.

``data/recorded.json`` holds the notifications of one run on the development cloud, and the server
as it was at each of them: ``instance`` with the ``changes`` of that moment.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.notifications import versioned
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.sender import SafeContext
from nova_lite.notifications.subject import Detail, Subject, Trouble
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded.json").read_text())
IMAGES = "http://127.0.0.1:9292/images"


class Wire:
    """Stands for oslo.messaging's Notifier and its thread: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.contexts: list[Any] = []

    def keep(
        self, wire: Wire, context: Any, event_type: str, payload: dict[str, Any], *, error: bool
    ) -> None:
        wire.contexts.append(SafeContext(context))
        wire.sent.append(("ERROR" if error else "INFO", event_type, payload))

    def put(self, job: Any) -> None:
        job()


def notifier_on(legacy: Wire | None, versioned: Wire | None, **more: Any) -> Notifier:
    wire = Wire()
    topics = SimpleNamespace(legacy=legacy, versioned=versioned, send=wire.keep)
    return Notifier(
        topics,  # type: ignore[arg-type]
        wire,  # type: ignore[arg-type]
        lambda context, image: f"{IMAGES}/{image}",
        **more,
    )


def subject(recorded: dict[str, Any]) -> Subject:
    instance = WireObject(json.loads(json.dumps(RECORDED["instance"])))
    instance.data.update(recorded["changes"])
    payload = recorded["versioned"]["payload"]["nova_object.data"]
    vifs = network_info.load(json.dumps(RECORDED["network_info"]))
    for port in payload["ip_addresses"]:  # the other servers of the run had ports of their own
        vifs = [_as_told(vifs[0], port["nova_object.data"])]
    return Subject(
        RequestContext(recorded["context"]),
        instance,
        f"instance-{instance['id']:08x}",
        vifs=vifs if recorded["ports"] else (),
        mappings=None if payload["block_devices"] is None else [],
    )


def _as_told(vif: Any, told: dict[str, Any]) -> Any:
    subnet = vif.network.subnets[0]
    ip = replace(subnet.ips[0], address=told["address"])
    network = replace(vif.network, subnets=(replace(subnet, ips=(ip,)),))
    return replace(
        vif, id=told["port_uuid"], mac=told["mac"], devname=told["device_name"], network=network
    )


def detail(action: str, recorded: dict[str, Any]) -> Detail:
    """What the operation adds; its own tests hold for that."""
    told, fields = recorded["legacy"]["payload"], recorded["versioned"]["payload"]
    own = {"snapshot_image_id", "rescue_image_ref", "trusted_image_certificates"}
    data = fields["nova_object.data"]
    return Detail(
        fields["nova_object.name"].removesuffix("Payload"),
        versioned.creation(subject(recorded))
        if action == "create"
        else {name: data[name] for name in own if name in data},
        {n: told[n] for n in ("image_name", "message", "rescue_image_name") if n in told},
        addresses="fixed_ips" in told,
    )


def said(recorded: dict[str, Any]) -> dict[str, Wire]:
    """What we say of the same moment, by form."""
    wires = {"legacy": Wire(), "versioned": Wire()}
    notifier = notifier_on(wires["legacy"], wires["versioned"], audit_period="month")
    action, _, phase = recorded["action"].partition(".")
    if action == "exists":
        notifier.exists(subject(recorded), so_far=True)
    else:
        notifier.action(subject(recorded), action, phase, detail(action, recorded))
    return wires


@pytest.mark.parametrize("form", ["legacy", "versioned"])
@pytest.mark.parametrize("recorded", RECORDED["notifications"], ids=lambda r: r["action"])
def test_says_what_stock_says(recorded: dict[str, Any], form: str) -> None:
    """Priority, event type and every field, for each form, as recorded."""
    ((priority, event_type, payload),) = said(recorded)[form].sent
    wanted = recorded[form]

    assert (priority, event_type) == (wanted["priority"], wanted["event_type"])
    assert without_moments(payload) == without_moments(wanted["payload"])


def without_moments(payload: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of times are not kept in the cloud's records; the audit ends when it is told."""
    result = json.loads(json.dumps(payload))
    for name in ("launched_at", "terminated_at"):
        if name in result:
            result[name] = result[name][:19]
    fields = result.get("nova_object.data", result)
    for period in (fields, fields.get("audit_period", {}).get("nova_object.data", {})):
        for name in ("audit_period_beginning", "audit_period_ending"):
            if name in period:
                period[name] = len(period[name])
    return result


def test_the_context_goes_along_without_its_token() -> None:
    """A reader knows who asked, and cannot act for them."""
    recorded = RECORDED["notifications"][1]
    wire = Wire()
    whole = {**RECORDED["context"], "auth_token": "gAAAsecret", "service_catalog": [{"type": "x"}]}
    about = subject({**recorded, "context": whole})

    notifier_on(wire, None).action(about, "pause", "start")

    told = wire.contexts[0].redacted_copy().fields
    stock = {**RECORDED["context"], "timestamp": told["timestamp"]}
    assert stock == told
    assert "gAAAsecret" not in json.dumps(told)


def test_a_failed_method_is_told_without_secrets() -> None:
    """The form is stock's; passwords and tokens of the request are not in it."""
    wires = {"legacy": Wire(), "versioned": Wire()}
    failure = Failure("QemuGuestAgentNotEnabled", "QEMU guest agent is not enabled", 400,
                      Verdict.ABORT, True,
                      '  File "/x/nova_lite/steps/password.py", line 3, in do\n')  # fmt: skip
    instance = subject(RECORDED["notifications"][1]).instance
    instance.data["user_data"] = "c2VjcmV0"
    arguments = {"instance": instance, "new_pass": "hunter22"}

    notifier_on(wires["legacy"], wires["versioned"]).exception(
        RequestContext.admin(), Trouble(failure, "set_admin_password", arguments)
    )

    ((priority, event_type, payload),) = wires["legacy"].sent
    wanted = RECORDED["exception"]["legacy"]
    assert (priority, event_type) == (wanted["priority"], wanted["event_type"])
    assert payload["exception"] == wanted["payload"]["exception"]
    assert sorted(payload["args"]) == wanted["payload"]["args"]
    assert payload["args"]["instance"]["flavor"]["name"] == "m1.nano"
    assert not {"hunter22", "c2VjcmV0"} & set(json.dumps(payload).split('"'))
    ((priority, event_type, payload),) = wires["versioned"].sent
    wanted = RECORDED["exception"]["versioned"]
    assert (priority, event_type) == (wanted["priority"], wanted["event_type"])
    assert payload["nova_object.version"] == wanted["payload"]["nova_object.version"]
    data, theirs = payload["nova_object.data"], wanted["payload"]["nova_object.data"]
    assert data.keys() == theirs.keys()
    assert data["exception_message"] == theirs["exception_message"]
    assert (data["module_name"], data["function_name"]) == ("nova_lite.steps.password", "do")


def test_volumes_are_told_where_asked_for() -> None:
    """block_devices lists volumes only, with five fields each."""
    wire = Wire()
    recorded = RECORDED["notifications"][1]
    volume = WireObject.new(
        "BlockDeviceMapping", "1.21", device_name="/dev/vdb", boot_index=None, volume_id="v1",
        delete_on_termination=False, tag=None, connection_info="secret",
    )  # fmt: skip
    local = WireObject.new("BlockDeviceMapping", "1.21", device_name="/dev/vda", volume_id=None)
    share = WireObject.new(
        "ShareMapping", "1.2", uuid="m1", share_id="s1", status="active", tag="docs",
        export_location="secret",
    )  # fmt: skip
    about = replace(subject(recorded), mappings=[local, volume], shares=[share])
    notifier_on(None, wire).action(about, "pause", "end")

    data = wire.sent[0][2]["nova_object.data"]
    assert [device["nova_object.data"] for device in data["block_devices"]] == [
        {"device_name": "/dev/vdb", "boot_index": None, "delete_on_termination": False,
         "volume_id": "v1", "tag": None}
    ]  # fmt: skip
    assert [told["nova_object.data"] for told in data["shares"]] == [
        {"share_mapping_uuid": "m1", "share_id": "s1", "status": "active", "tag": "docs"}
    ]


def test_interfaces_have_no_legacy_notification() -> None:
    """Attaching an interface is told in the versioned form alone."""
    legacy, new = Wire(), Wire()

    notifier_on(legacy, new).action(
        subject(RECORDED["notifications"][1]), "interface_attach", "start"
    )

    assert ([], ["instance.interface_attach.start"]) == (legacy.sent, [s[1] for s in new.sent])


def test_addresses_have_legacy_notifications_only() -> None:
    """Stock has no versioned ones for create_ip and delete_ip."""
    legacy, new = Wire(), Wire()

    notifier_on(legacy, new).action(subject(RECORDED["notifications"][1]), "create_ip", "start")

    assert (["compute.instance.create_ip.start"], []) == ([s[1] for s in legacy.sent], new.sent)


def test_nothing_is_built_where_nobody_asked() -> None:
    """Off is off: not even a subject without fields is looked at."""
    silent = Notifier()
    empty = Subject(RequestContext.admin(), WireObject.new("Instance", "2.8"), "")

    silent.action(empty, "pause", "start")
    silent.exists(empty, so_far=True)
    silent.close()

    assert not silent.on
