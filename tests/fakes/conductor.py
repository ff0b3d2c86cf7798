"""A conductor with its database in one file, so that it outlives a killed agent.

It stands in for ``nova_lite.conductor.client.Conductor``; ``tests/wire/test_fake_conductor.py``
holds it to the recorded messages of a real one.
"""

from __future__ import annotations

import copy
import datetime
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from nova_lite.errors import (
    ControlPlaneUnavailable,
    ServerBeingDeleted,
    ServerNotFound,
    UnexpectedTaskState,
)
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject, unwrap
from nova_lite.wire.versions import VERSIONS, manifest
from tests.fakes.cloud import Ledger
from tests.fakes.outgoing import hold, hold_manifest

# Seconds until the conductor has found the next host for a boot that was handed back to it.
RESCHEDULES_IN = 0.2
KEYS = {
    "Instance": "uuid",
    "InstanceInfoCache": "instance_uuid",
    "BlockDeviceMapping": "id",
    "VirtualInterface": "uuid",
    "Service": "id",
    "ComputeNode": "id",
    "Migration": "id",
}
# As MigrationList.get_in_progress_and_error leaves them out.
OVER = ("confirmed", "reverted", "failed", "completed", "cancelled", "done")


def now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeConductor:
    """``away``: a file; while it exists nobody answers. ``ledger``: the cloud's, see ``cloud``."""

    def __init__(self, path: Path, ledger=None):
        self._file = Ledger(path)
        self.away = path.with_suffix(".away")
        self.ledger = ledger
        self.lose_answer = False  # of the call that is being carried out

    # --- the database -----------------------------------------------------------------------
    @contextmanager
    def database(self):
        """The tables, read under a lock and written back whole."""
        with self._file.open() as tables:
            tables.setdefault("calls", [])
            self._reschedule(tables)
            yield tables

    def _reschedule(self, tables):
        """What a conductor and the next host do of a boot that was cast back, after a while."""
        for cast in tables.get("casts", []):
            if cast["method"] != "build_instances" or cast["due"] > time.time():
                continue
            cast["due"] = float("inf")
            for instance in cast["arguments"]["instances"]:
                server = instance["nova_object.data"]["uuid"]
                tables["Instance"][server].update(
                    host="host2", node="host2", availability_zone="nova", task_state="networking"
                )
                if self.ledger is not None:
                    with self.ledger.open() as content:
                        content.setdefault("allocations", {})[server] = {"host2": {"VCPU": 1}}

    def read(self):
        with self.database() as tables:
            return copy.deepcopy(tables)

    @contextmanager
    def asked(self):
        """The tables, for a call of the agent's."""
        if self.away.exists():
            raise ControlPlaneUnavailable("nova-conductor did not answer in time")
        with self.database() as tables:
            yield tables

    def add_instance(self, primitive):
        with self.database() as tables:
            tables.setdefault("Instance", {})[primitive["nova_object.data"]["uuid"]] = (
                copy.deepcopy(primitive["nova_object.data"])
            )

    def instance(self, server_uuid):
        return self.read().get("Instance", {}).get(server_uuid)

    def set(self, server_uuid, **fields):
        """Change a record as the API does."""
        with self.database() as tables:
            tables["Instance"][server_uuid].update(fields)

    # --- what the agent calls ---------------------------------------------------------------
    def ping(self, timeout):
        return 0.001

    def class_call(self, context, method, *args, **kwargs):
        name = "class_" + method.replace(".", "_").lower()
        hold([args, kwargs])
        hold_manifest(manifest(method.partition(".")[0]))
        with self.asked() as tables:
            tables["calls"].append(method)
            return getattr(self, name)(tables, context, *args, **kwargs)

    def class_cast(self, context, method, *args, **kwargs):
        self.class_call(context, method, *args, **kwargs)

    def object_call(self, context, obj, method, **kwargs):
        hold([obj, kwargs])
        with self.asked() as tables:
            tables["calls"].append(f"{obj.name}.{method}")
            handler = getattr(self, f"object_{obj.name}_{method}".lower(), None)
            handler = handler or getattr(self, f"object_{method}")
            answer = handler(tables, context, obj, **kwargs)
        if self.lose_answer:
            self.lose_answer = False
            raise ControlPlaneUnavailable("nova-conductor did not answer in time")
        return answer

    def create(self, context, name, /, **fields):
        obj = WireObject.new(name, VERSIONS[name], **fields)
        updates, _ = self.object_call(context, obj, "create")
        obj.apply(updates)
        return obj

    def save(self, context, obj, /, **fields):
        obj.set(**fields)
        if obj.changes:
            updates, _ = self.object_call(context, obj.partial("id"), "save")
            obj.apply(updates)

    def task_cast(self, context, method, version, **arguments):
        hold(arguments)
        with self.asked() as tables:
            tables["calls"].append(method)
            tables.setdefault("casts", []).append(
                {
                    "method": method,
                    "arguments": unwrap(dict(arguments)),
                    "due": time.time() + RESCHEDULES_IN,
                }
            )

    # --- objects ----------------------------------------------------------------------------
    def object_create(self, tables, context, obj):
        rows = tables.setdefault(obj.name, {})
        row = {**obj.data, "created_at": now(), "updated_at": None}
        row.setdefault("id", len(rows) + 1)
        if obj.name in ("Service", "ComputeNode"):
            row.setdefault("uuid", str(uuid.uuid4()))
        key = str(row[KEYS.get(obj.name, "id")])
        if obj.name == "VirtualInterface" and key in rows:
            raise RemoteFailure("VirtualInterfaceCreateException", "duplicate")
        rows[key] = row
        new = {k: v for k, v in row.items() if k not in obj.data}
        return {**new, "obj_what_changed": []}, None

    def object_save(self, tables, context, obj):
        rows = tables.setdefault(obj.name, {})
        key = str(obj.data[KEYS[obj.name]])
        row = rows.setdefault(key, {})
        row.update({field: obj.data[field] for field in obj.changes})
        row["updated_at"] = now()
        return {"updated_at": row["updated_at"], "obj_what_changed": []}, None

    def object_instance_save(self, tables, context, obj, expected_task_state=(),
                             expected_vm_state=()):  # fmt: skip
        row = tables.get("Instance", {}).get(obj.data["uuid"])
        if row is None or row.get("deleted"):
            raise ServerNotFound(f"Instance {obj.data['uuid']} could not be found.")
        if expected_task_state and row.get("task_state") not in expected_task_state:
            if row.get("task_state") == "deleting":
                raise ServerBeingDeleted("Expected: ... Actual: {'task_state': 'deleting'}")
            raise UnexpectedTaskState(f"task_state is {row.get('task_state')}")
        if expected_vm_state and row.get("vm_state") not in expected_vm_state:
            raise UnexpectedTaskState(f"vm_state is {row.get('vm_state')}")
        changed = {field: copy.deepcopy(obj.data[field]) for field in obj.changes}
        if cache := changed.pop("info_cache", None):
            self.object_save(tables, context, WireObject(cache))
        row.update(changed)
        row["updated_at"] = now()
        row.setdefault("history", []).append([row.get("vm_state"), row.get("task_state")])
        # Columns and system metadata always, nested objects only where the sender had them.
        always = {k for k, v in row.items() if not isinstance(v, dict)} | {"system_metadata"}
        columns = {k: v for k, v in row.items() if k in obj.data or k in always}
        columns.pop("history")
        return {**columns, "obj_what_changed": []}, None

    def object_instance_destroy(self, tables, context, obj):
        row = tables.get("Instance", {}).get(obj.data["uuid"])
        if row is None or row.get("deleted"):
            raise ServerNotFound(f"Instance {obj.data['uuid']} could not be found.")
        row.update(deleted=True, deleted_at=now())
        # With it goes what belongs to it; deleted mappings can still be read.
        for table in ("VirtualInterface", "ConsoleAuthToken"):
            rows = tables.get(table, {})
            for key in [k for k, r in rows.items() if r["instance_uuid"] == obj.data["uuid"]]:
                del rows[key]
        for mapping in tables.get("BlockDeviceMapping", {}).values():
            if mapping.get("instance_uuid") == obj.data["uuid"]:
                mapping["deleted"] = True
        return {"deleted": True, "deleted_at": row["deleted_at"], "obj_what_changed": []}, None

    def object_blockdevicemapping_destroy(self, tables, context, obj):
        row = tables.get("BlockDeviceMapping", {}).get(str(obj.data["id"]))
        if row is not None:
            row["deleted"] = True
        return {"obj_what_changed": []}, None

    def object_virtualinterface_destroy(self, tables, context, obj):
        rows = tables.get("VirtualInterface", {})
        for key in [key for key, row in rows.items() if row["id"] == obj.data["id"]]:
            del rows[key]
        return {"obj_what_changed": []}, None

    def object_consoleauthtoken_authorize(self, tables, context, obj, ttl):
        token = str(uuid.uuid4())
        tables.setdefault("ConsoleAuthToken", {})[token] = {**obj.data, "ttl": ttl}
        return {"token": token, "expires": 0, "id": 1, "obj_what_changed": []}, token

    # --- classes ----------------------------------------------------------------------------
    def class_instance_get_by_uuid(self, tables, context, server_uuid, expected_attrs=None,
                                   use_slave=False):  # fmt: skip
        row = tables.get("Instance", {}).get(server_uuid)
        sees_deleted = context is not None and context.read_deleted == "yes"
        if row is None or (row.get("deleted") and not sees_deleted):
            raise ServerNotFound(f"Instance {server_uuid} could not be found.")
        data = {k: copy.deepcopy(v) for k, v in row.items() if k != "history"}
        cache = tables.get("InstanceInfoCache", {}).get(server_uuid)
        if cache:
            data["info_cache"] = unwrap(WireObject.new("InstanceInfoCache", "1.5", **cache))
        obj = WireObject.new("Instance", VERSIONS["Instance"], **data)
        obj.clear_changes()
        return obj

    def class_instancelist_get_by_host(self, tables, context, host, expected_attrs=()):
        found = [
            self.class_instance_get_by_uuid(tables, context, key)
            for key, row in tables.get("Instance", {}).items()
            if row.get("host") == host and not row.get("deleted")
        ]
        return WireObject.new("InstanceList", "2.6", objects=found)

    def class_instancelist_get_by_filters(self, tables, context, filters, expected_attrs=()):
        filters = {"hidden": False, **filters}
        found = [
            self.class_instance_get_by_uuid(tables, context, key)
            for key, row in tables.get("Instance", {}).items()
            if _matches({**row, "uuid": key}, filters)
        ]
        return WireObject.new("InstanceList", "2.6", objects=found)

    def class_migrationlist_get_by_filters(self, tables, context, filters):
        rows = tables.get("Migration", {}).values()
        hidden = context.read_deleted != "yes"
        return _migrations(
            row for row in rows if _matches(row, filters) and not (hidden and row.get("deleted"))
        )

    def class_migrationlist_get_in_progress_and_error(self, tables, context, host, node):
        ends = ((host, node),)
        return _migrations(
            row
            for row in tables.get("Migration", {}).values()
            if row["status"] not in OVER
            and (
                (row["source_compute"], row["source_node"]) in ends
                or (row["dest_compute"], row["dest_node"]) in ends
            )
        )

    def class_computenodelist_get_all_by_host(self, tables, context, host, use_slave=False):
        rows = [row for row in tables.get("ComputeNode", {}).values() if row["host"] == host]
        if not rows:
            raise RemoteFailure("ComputeHostNotFound", f"Compute host {host} could not be found.")
        found = [WireObject.new("ComputeNode", VERSIONS["ComputeNode"], **row) for row in rows]
        return WireObject.new("ComputeNodeList", "1.17", objects=found)

    def class_instanceactionevent_event_start(self, tables, context, server_uuid, event,
                                              want_result=False, host=None):  # fmt: skip
        tables.setdefault("events", []).append([server_uuid, event, "start", None])

    def class_instanceactionevent_event_finish_with_failure(
        self, tables, context, server_uuid, event, exc_val=None, exc_tb=None, want_result=False
    ):
        tables.setdefault("events", []).append([server_uuid, event, "finish", exc_val])

    def object_instanceactionevent_create(self, tables, context, obj, instance_uuid, request_id):
        tables.setdefault("told", []).append([instance_uuid, obj["event"], obj["details"]])
        return {"id": 1, "obj_what_changed": []}, None

    def class_instanceaction_action_start(self, tables, context, server_uuid, action,
                                          want_result=False):  # fmt: skip
        tables.setdefault("actions", []).append([server_uuid, action])

    def class_blockdevicemappinglist_get_by_instance_uuid(self, tables, context, server_uuid):
        found = [
            WireObject.new("BlockDeviceMapping", "1.21", **row)
            for row in tables.get("BlockDeviceMapping", {}).values()
            if row.get("instance_uuid") == server_uuid
            and (context.read_deleted == "yes" or not row.get("deleted"))
        ]
        return WireObject.new("BlockDeviceMappingList", "1.18", objects=found)

    def class_blockdevicemappinglist_get_by_instance_uuids(self, tables, context, servers):
        get = self.class_blockdevicemappinglist_get_by_instance_uuid
        found = [row for uuid in servers for row in get(tables, context, uuid).objects()]
        return WireObject.new("BlockDeviceMappingList", "1.18", objects=found)

    def class_blockdevicemapping_get_by_volume_and_instance(self, tables, context, volume_id,
                                                            server_uuid):  # fmt: skip
        for row in tables.get("BlockDeviceMapping", {}).values():
            mine = (row.get("volume_id"), row.get("instance_uuid")) == (volume_id, server_uuid)
            if mine and not row.get("deleted"):
                return WireObject.new("BlockDeviceMapping", "1.21", **row)
        raise RemoteFailure("VolumeBDMNotFound", f"No volume BDM with id {volume_id}.")

    def object_sharemapping_save(self, tables, context, obj):
        rows = tables.setdefault("ShareMapping", {})
        key = f"{obj.data['instance_uuid']}.{obj.data['share_id']}"
        names = ("uuid", "instance_uuid", "share_id", "status", "tag", "export_location",
                 "share_proto")  # fmt: skip
        # Not a change but the whole row is written, and made where it is gone.
        rows[key] = {**rows.get(key, {"id": len(rows) + 1}), **{n: obj.data[n] for n in names}}
        return {"updated_at": now(), "obj_what_changed": []}, None

    def object_sharemapping_delete(self, tables, context, obj):
        key = f"{obj.data['instance_uuid']}.{obj.data['share_id']}"
        tables.get("ShareMapping", {}).pop(key, None)
        return {"obj_what_changed": []}, None

    def class_sharemappinglist_get_by_instance_uuid(self, tables, context, server_uuid):
        return self._share_mappings(tables, "instance_uuid", server_uuid)

    def class_sharemappinglist_get_by_share_id(self, tables, context, share_id):
        return self._share_mappings(tables, "share_id", share_id)

    @staticmethod
    def _share_mappings(tables, field, value):
        rows = [row for row in tables.get("ShareMapping", {}).values() if row[field] == value]
        found = [WireObject.new("ShareMapping", "1.2", **row) for row in rows]
        for mapping in found:
            mapping.clear_changes()
        return WireObject.new("ShareMappingList", "1.0", objects=found)

    def class_instancegroup_get_by_instance_uuid(self, tables, context, server_uuid):
        for row in tables.get("InstanceGroup", {}).values():
            if server_uuid in row["members"]:
                return WireObject.new("InstanceGroup", "1.11", **row)
        raise RemoteFailure("InstanceGroupNotFound", f"Instance group  of {server_uuid}")

    def class_virtualinterface_get_by_uuid(self, tables, context, port_id):
        row = tables.get("VirtualInterface", {}).get(port_id)
        if row is None:
            return None
        found = WireObject.new("VirtualInterface", "1.3", **row)
        found.clear_changes()
        return found

    def class_virtualinterface_delete_by_instance_uuid(self, tables, context, server_uuid):
        rows = tables.get("VirtualInterface", {})
        for key in [k for k, row in rows.items() if row["instance_uuid"] == server_uuid]:
            del rows[key]

    def class_virtualinterfacelist_get_by_instance_uuid(self, tables, context, server_uuid):
        # The table keeps the order in which rows were made.
        rows = list(enumerate(tables.get("VirtualInterface", {}).values()))
        found = [
            WireObject.new("VirtualInterface", "1.3", **{**row, "id": number})
            for number, row in rows
            if row["instance_uuid"] == server_uuid
        ]
        return WireObject.new("VirtualInterfaceList", "1.0", objects=found)

    def class_consoleauthtoken_clean_console_auths_for_instance(self, tables, context, server):
        rows = tables.get("ConsoleAuthToken", {})
        for key in [k for k, row in rows.items() if row["instance_uuid"] == server]:
            del rows[key]


def _matches(row, filters):
    """Whether a row has the values of all filters; a list stands for any of its members."""
    return all(
        row.get(name) in wanted if isinstance(wanted, list) else (row.get(name) or False) == wanted
        for name, wanted in filters.items()
    )


def _migrations(rows):
    found = [WireObject.new("Migration", "1.8", **row) for row in rows]
    for migration in found:
        migration.clear_changes()
    return WireObject.new("MigrationList", "1.5", objects=found)
