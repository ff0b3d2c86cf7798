"""Share mappings as nova 34 serialises them, and as they go back to its conductor."""

from __future__ import annotations

import copy

from nova_lite.conductor.records import ShareMappings
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS, manifest

# What ShareMapping.obj_to_primitive() returned.
MAPPING = {
    "nova_object.name": "ShareMapping",
    "nova_object.namespace": "nova",
    "nova_object.version": "1.2",
    "nova_object.data": {
        "id": 1,
        "uuid": "bbbbbbbb-2222-4333-8444-555555555555",
        "instance_uuid": "aaaaaaaa-2222-4333-8444-555555555555",
        "share_id": "cccccccc-2222-4333-8444-555555555555",
        "status": "attaching",
        "tag": "docs",
        "export_location": "10.0.0.1:/x",
        "share_proto": "NFS",
    },
}
LIST = {
    "nova_object.name": "ShareMappingList",
    "nova_object.namespace": "nova",
    "nova_object.version": "1.1",
    "nova_object.data": {"objects": [MAPPING]},
}
ADMIN = RequestContext.admin()


class Conductor:
    """Answers as the real one does."""

    def __init__(self):
        self.sent = []

    def class_call(self, context, method, *args):
        self.sent.append((method, args))
        return WireObject(copy.deepcopy(LIST))

    def object_call(self, context, obj, method):
        self.sent.append((f"{obj.name}.{method}", copy.deepcopy(obj.primitive)))
        return {"obj_what_changed": []}, None


def test_a_mapping_is_saved_whole_and_in_its_own_version():
    """The conductor writes all of the row, and makes one where there is none."""
    conductor = Conductor()
    records = ShareMappings(conductor)
    (mapping,) = records.of_server(ADMIN, "aaaaaaaa-2222-4333-8444-555555555555")

    records.save(ADMIN, mapping, "inactive")
    records.save(ADMIN, mapping, "inactive")
    records.delete(ADMIN, mapping)

    listed, saved, deleted = conductor.sent
    assert listed[0] == "ShareMappingList.get_by_instance_uuid"
    assert (saved[0], deleted[0]) == ("ShareMapping.save", "ShareMapping.delete")
    changed = copy.deepcopy(MAPPING)
    changed["nova_object.data"]["status"] = "inactive"
    assert saved[1] == {**changed, "nova_object.changes": ["status"]}
    assert deleted[1] == changed


def test_a_list_is_asked_for_in_the_oldest_version_with_what_is_in_it():
    """1.1 of 2026.2 added a question only; the mappings have been the same since 2025.1."""
    assert manifest("ShareMappingList") == {"ShareMappingList": "1.0", "ShareMapping": "1.2"}
    assert VERSIONS["ShareMetadata"] == "1.0"
