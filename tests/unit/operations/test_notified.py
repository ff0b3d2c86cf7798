"""What each verb adds to the payload of its notifications."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import ImageNotFound, InterfaceAttachFailed, PortInUse
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.rpc.endpoint import VERBS
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

INSTANCE = WireObject.new("Instance", "2.8", uuid="u", vm_state="active", image_ref="own")
NAMES = {"own": "Own", "new": "New", "rescue": "Rescue"}
CERTIFICATES = {"trusted_image_certificates": None}
CREATED = {"keypairs": [], "tags": [], **CERTIFICATES, "instance_name": "instance-1"}
ATTACHED, SHARED = {"volume_id": "v1"}, {"share_id": "s1"}
SHARE = WireObject.new("ShareMapping", "1.0", **SHARED)


def show(context: Any, image_id: str) -> Any:
    if image_id not in NAMES:
        raise ImageNotFound(f"Image {image_id} is gone")
    return SimpleNamespace(name=NAMES[image_id])


def detail(method: str, phase: str, arguments: dict[str, Any]) -> Detail:
    tools = SimpleNamespace(images=SimpleNamespace(show=show))
    context = RequestContext.admin()
    work = Work(context, tools, INSTANCE, arguments, {}, lambda **notes: None)  # type: ignore[arg-type]
    subject = Subject(context, INSTANCE, "instance-1")
    return VERBS[method](work).notification_detail(phase, subject)


@pytest.mark.parametrize(
    ("method", "phase", "arguments", "wanted"),
    [
        ("pause_instance", "end", {}, Detail()),
        ("build_and_run_instance", "start", {"image": {"name": "Tiny"}},
         Detail("InstanceCreate", CREATED, {"image_name": "Tiny"})),
        ("build_and_run_instance", "end", {"image": {}},
         Detail("InstanceCreate", CREATED, {"message": "Success"}, addresses=True)),
        ("build_and_run_instance", "error", {}, Detail("InstanceCreate", CREATED)),
        ("rebuild_instance", "start", {"image_ref": "new"},
         Detail("InstanceActionRebuild", CERTIFICATES, {"image_name": "New"})),
        ("rebuild_instance", "end", {"image_ref": "gone"},
         Detail("InstanceActionRebuild", CERTIFICATES, {"image_name": ""}, addresses=True)),
        ("rebuild_instance", "error", {"image_ref": "new"},
         Detail("InstanceActionRebuild", CERTIFICATES)),
        ("rescue_instance", "start", {"rescue_image_ref": None},
         Detail("InstanceActionRescue", {"rescue_image_ref": None}, {"rescue_image_name": "Own"},
                addresses=True)),
        ("rescue_instance", "end", {"rescue_image_ref": "rescue"},
         Detail("InstanceActionRescue", {"rescue_image_ref": "rescue"},
                {"rescue_image_name": "Rescue"}, addresses=True)),
        ("unrescue_instance", "start", {}, Detail(addresses=True)),
        ("backup_instance", "start", {"image_id": "i1"},
         Detail("InstanceActionSnapshot", {"snapshot_image_id": "i1"})),
        ("attach_volume", "error", {"bdm": ATTACHED},
         Detail("InstanceActionVolume", ATTACHED, ATTACHED)),
        ("detach_volume", "end", ATTACHED, Detail("InstanceActionVolume", ATTACHED, ATTACHED)),
        ("swap_volume", "start", {"old_volume_id": "a", "new_volume_id": "b"},
         Detail("InstanceActionVolumeSwap", {"old_volume_id": "a", "new_volume_id": "b"})),
        ("attach_interface", "end", {"network_id": "n"}, Detail()),
        ("detach_interface", "start", {"port_id": "p"}, Detail()),
        ("add_fixed_ip_to_instance", "start", {"network_id": "n"}, Detail()),
        ("remove_fixed_ip_from_instance", "end", {"address": "a"}, Detail(addresses=True)),
        ("allow_share", "end", {"share_mapping": SHARE}, Detail("InstanceActionShare", SHARED)),
        ("deny_share", "end", {"share_mapping": SHARE}, Detail("InstanceActionShare", SHARED)),
    ],
)  # fmt: skip
def test_what_a_payload_says_beside_the_server(method, phase, arguments, wanted) -> None:
    """Payload, own fields, further legacy keys, and whether addresses are listed."""
    assert wanted == detail(method, phase, arguments)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (InterfaceAttachFailed("no slot"), ["interface_attach.error", "exception"]),
        (PortInUse("it is another server's"), ["exception"]),
    ],
)
def test_an_attach_has_an_error_where_this_host_refused_it(error, wanted) -> None:
    """As in stock; what Neutron refuses is an exception only. A detach has no error at all."""
    tools = SimpleNamespace(actions=SimpleNamespace(fault=lambda *told: None))
    work = Work(
        RequestContext.admin(), tools, INSTANCE, {"port_id": "p"}, {}, lambda **notes: None
    )  # type: ignore[arg-type]
    verb = VERBS["attach_interface"](work)
    verb.failed(Failure.of(error))

    assert wanted == verb.notifications("error")
    assert ["interface_attach.end"] == verb.notifications("end")
    assert ["exception"] == VERBS["detach_interface"](work).notifications("error")


def test_mappings_are_sent_with_the_actions_of_stock() -> None:
    """Even where [notifications]bdms_in_notifications is off."""
    assert {
        "create", "delete", "reboot", "resume", "rebuild", "shelve", "shelve_offload", "unshelve",
        "resize", "resize_finish", "resize_revert", "live_migration_pre",
    } == {verb.notifies for verb in VERBS.values() if verb.notifies_mappings and verb.notifies
    }  # fmt: skip


MOVE = {"migration": WireObject.new("Migration", "1.8", id=7, uuid="m")}


def told(method, notes=None):
    """What a verb of a move tells in each phase, and what it tells after its milestone."""
    flavor = WireObject.new("Flavor", "1.2", id=2, name="new", extra_specs={})
    work = Work(
        RequestContext.admin(), SimpleNamespace(), INSTANCE, {**MOVE, "flavor": flavor},
        notes or {}, lambda **notes: None,
    )  # type: ignore[arg-type]
    verb = VERBS[method](work)
    return {phase: verb.notifications(phase) for phase in ("start", "milestone", "end", "error")}


def test_a_move_between_cells_is_told_as_stock_tells_it() -> None:
    """nova-conductor tells of confirm and revert, which cost no notification of their own here."""
    silent = {"start": [], "milestone": [], "end": [], "error": ["exception"]}
    assert told("prep_snapshot_based_resize_at_dest") == {
        "start": ["resize_prep.start"], "milestone": [], "end": ["resize_prep.end"],
        "error": ["resize_prep.end", "exception"],
    }  # fmt: skip
    for method, action in (
        ("prep_snapshot_based_resize_at_source", "resize"),
        ("finish_snapshot_based_resize_at_dest", "resize_finish"),
    ):
        assert told(method) == {
            "start": [], "milestone": [f"{action}.start"], "end": [f"{action}.end"],
            "error": ["exception"],
        }  # fmt: skip
    assert told("revert_snapshot_based_resize_at_dest") == {**silent, "start": ["exists"]}
    for method in (
        "confirm_snapshot_based_resize_at_source", "finish_revert_snapshot_based_resize_at_source",
    ):  # fmt: skip
        assert told(method) == silent


def test_a_move_is_told_as_stock_tells_it() -> None:
    """The audit hears before the server uses something else; the preparation ends in any case; what
    goes on with the next host is an error of the resize."""
    assert told("prep_resize") == {
        "start": ["exists", "resize_prep.start"], "milestone": [], "end": ["resize_prep.end"],
        "error": ["resize_prep.end", "exception"],
    }  # fmt: skip
    handed_over = told("prep_resize", {"handing_over": True})
    assert handed_over["error"] == ["resize_prep.end", "resize.error"]
    assert told("resize_instance") == {
        "start": [], "milestone": ["resize.start"], "end": ["resize.end"], "error": ["exception"],
    }  # fmt: skip
    assert told("finish_resize") == {
        "start": [], "milestone": ["resize_finish.start"], "end": ["resize_finish.end"],
        "error": ["exception"],
    }  # fmt: skip


def test_a_preparation_names_the_new_flavor() -> None:
    """In both forms, in the legacy one at its end only."""
    flavor = WireObject.new("Flavor", "1.2", id=2, name="new", extra_specs={})
    start, end = (
        detail("prep_resize", phase, {**MOVE, "flavor": flavor}) for phase in ("start", "end")
    )

    assert (start.payload, start.legacy) == ("InstanceActionResizePrep", {})
    assert start.fields["new_flavor"]["nova_object.data"]["name"] == "new"
    assert end.legacy == {"new_instance_type": "new", "new_instance_type_id": 2}
