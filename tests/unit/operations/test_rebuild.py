"""What a rebuild refuses, and what its end leaves behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.errors import FlavorDiskTooSmall, NovaLiteError
from nova_lite.failures import Failure
from nova_lite.model.states import PowerState
from nova_lite.operations.rebuild import Rebuild
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

ASKED = {
    "preserve_ephemeral": False,
    "reimage_boot_volume": True,
    "migration": None,
    "bdms": None,
    "orig_image_ref": "old-image",
    "orig_sys_metadata": {"image_base_image_ref": "old-image", "image_kernel_id": "old-kernel"},
}


class Cloud:
    """Every collaborator that a failed rebuild may talk to: remembers what it was told."""

    def __init__(self):
        self.saved, self.faults = {}, []

    def save(self, context, subject, **fields):
        self.saved[subject.name] = {**{k: subject[k] for k in subject.changes}, **fields}

    def fault(self, context, uuid, failure):
        self.faults.append(failure.message)

    def power_state(self, uuid):
        return PowerState.RUNNING


def rebuild(notes=None, fields=None, **asked):
    cloud = Cloud()
    tools = SimpleNamespace(
        host="node1", instances=cloud, actions=cloud, hypervisor=cloud,
    )  # fmt: skip
    server = {"uuid": "s1", "vm_state": "active", "image_ref": "new-image", **(fields or {})}
    instance = WireObject.new("Instance", "2.8", **server)
    instance.clear_changes()
    work = Work(RequestContext({}), tools, instance, {**ASKED, **asked}, notes or {}, None)
    return Rebuild(work), cloud


CERTIFICATES = WireObject.new("TrustedCerts", "1.0", ids=["c1"])


@pytest.mark.parametrize(
    ("asked", "fields", "name"),
    [
        ({"preserve_ephemeral": True}, {}, "PreserveEphemeralNotSupported"),
        ({}, {"trusted_certs": CERTIFICATES}, "BuildAbortException"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_touched(asked, fields, name):
    """Under the name that the API knows, with a way out."""
    operation, _ = rebuild(fields=fields, **asked)

    with pytest.raises(NovaLiteError) as refused:
        operation.load()

    assert refused.value.nova_name == name


def failure():
    return Failure.of(FlavorDiskTooSmall("Image new-image does not fit"))


def test_an_early_failure_leaves_records_that_describe_the_old_disks():
    """The API had put the new image into them; the guest still has the old one."""
    operation, cloud = rebuild()

    operation.failed(failure())

    assert cloud.faults == ["Image new-image does not fit"]
    assert cloud.saved["Instance"] == {
        "vm_state": "error", "task_state": None, "power_state": 1, "image_ref": "old-image",
        "system_metadata": ASKED["orig_sys_metadata"], "kernel_id": "old-kernel", "ramdisk_id": "",
    }  # fmt: skip


def test_a_late_failure_leaves_the_new_image():
    """The old disks are gone: whoever repairs it starts from what was asked for."""
    operation, cloud = rebuild()
    operation.work.past_return = True

    operation.failed(failure())

    assert "image_ref" not in cloud.saved["Instance"]
    assert cloud.saved["Instance"]["vm_state"] == "error"
