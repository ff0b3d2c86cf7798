"""Instance records."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from nova_lite.conductor.client import Conductor
from nova_lite.wire import decode
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

# Everything an operation on one server may need, so that it is fetched in one call.
EVERYTHING = (
    "flavor",
    "info_cache",
    "metadata",
    "system_metadata",
    "numa_topology",
    "pci_requests",
    "pci_devices",
    "keypairs",
    "ec2_ids",
    "device_metadata",
)
# What the host needs to know of each server at start-up.
FOR_HOST = ("info_cache", "metadata", "system_metadata", "numa_topology", "flavor")
# What tells how much a server that moves claims of its hosts.
FOR_MOVE = ("flavor", "migration_context", "numa_topology")
FOR_AUDIT = ("info_cache", "metadata", "system_metadata", "flavor")


class Instances:
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def get(
        self,
        context: RequestContext,
        uuid: str,
        expected_attrs: Sequence[str] = EVERYTHING,
    ) -> WireObject:
        """Fetch one server; raises ServerNotFound."""
        found: WireObject = self._conductor.class_call(
            context,
            "Instance.get_by_uuid",
            uuid,
            expected_attrs=list(expected_attrs),
            use_slave=False,
        )
        return found

    def by_host(
        self, context: RequestContext, host: str, expected_attrs: Sequence[str] = FOR_HOST
    ) -> list[WireObject]:
        """All servers whose ``host`` is this one."""
        found = self._conductor.class_call(
            context, "InstanceList.get_by_host", host, expected_attrs=list(expected_attrs)
        )
        return list(found.objects())

    def active_in(
        self,
        context: RequestContext,
        host: str,
        beginning: datetime.datetime,
        ending: datetime.datetime,
        expected_attrs: Sequence[str] = FOR_AUDIT,
    ) -> list[WireObject]:
        """Servers of this host that were not deleted before ``beginning`` (naive UTC times)."""
        found = self._conductor.class_call(
            context,
            "InstanceList._get_active_by_window_joined",
            decode.moment(beginning),
            decode.moment(ending),
            host=host,
            expected_attrs=list(expected_attrs),
            use_slave=True,
        )
        return list(found.objects())

    def by_filters(
        self, context: RequestContext, filters: Mapping[str, Any], expected_attrs: Sequence[str]
    ) -> list[WireObject]:
        """The servers whose fields have the given values."""
        found = self._conductor.class_call(
            context,
            "InstanceList.get_by_filters",
            dict(filters),
            expected_attrs=list(expected_attrs),
        )
        return list(found.objects())

    def save(
        self,
        context: RequestContext,
        instance: WireObject,
        *,
        expected_task_state: Sequence[str | None] | None = None,
        expected_vm_state: Sequence[str] | None = None,
        **fields: Any,
    ) -> None:
        """Save ``fields`` (and what was changed before) if the task state is an expected one.

        Only the changed fields travel. The compare-and-swap is the database's; raises
        UnexpectedTaskState, ServerBeingDeleted or ServerNotFound.
        """
        instance.set(**fields)
        conditions: dict[str, Any] = {}
        if expected_task_state is not None:
            conditions["expected_task_state"] = list(expected_task_state)
        if expected_vm_state is not None:
            conditions["expected_vm_state"] = list(expected_vm_state)
        updates, _ = self._conductor.object_call(context, instance.partial(), "save", **conditions)
        instance.apply(_scalars(updates))

    def destroy(self, context: RequestContext, instance: WireObject) -> None:
        """Mark the record as deleted, and ``instance`` with it."""
        key = WireObject.new("Instance", VERSIONS["Instance"])
        key.data.update({field: instance[field] for field in ("uuid", "id", "host")
                         if field in instance})  # fmt: skip
        updates, _ = self._conductor.object_call(context, key, "destroy")
        for field in ("deleted", "deleted_at"):
            instance.data[field] = updates.get(field, instance.get(field))


def _scalars(updates: dict[str, Any]) -> dict[str, Any]:
    """The returned fields, without nested objects that a partial save knows nothing of."""
    return {
        field: value
        for field, value in updates.items()
        if not isinstance(value, WireObject) or field == "info_cache"
    }
