"""Instance records."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nova_lite.conductor.client import Conductor
from nova_lite.errors import UnexpectedTaskState
from nova_lite.wire import decode
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

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
    "trusted_certs",
    "migration_context",
)
# What the host needs to know of each server at start-up.
FOR_HOST = (
    "info_cache", "metadata", "system_metadata", "numa_topology", "flavor", "pci_requests",
)  # fmt: skip
# What tells how much a server that moves claims of its hosts.
FOR_MOVE = ("flavor", "migration_context", "numa_topology")
FOR_AUDIT = ("info_cache", "metadata", "system_metadata", "flavor")
# Fields that are objects, with tables and versions of their own: they are not compared.
NESTED = frozenset(
    {
        "flavor", "old_flavor", "new_flavor", "info_cache", "numa_topology", "pci_requests",
        "pci_devices", "device_metadata", "trusted_certs", "migration_context",
    }
)  # fmt: skip


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

        Only the changed fields travel. The compare-and-swap is the database's. When it fails after
        an earlier attempt got no answer, the record is read: that attempt may have been carried
        out, and then this is success.

        :raises UnexpectedTaskState, ServerBeingDeleted, ServerNotFound: somebody else was faster
        """
        before = {field: instance.data[field] for field in fields if field in instance}
        instance.set(**fields)
        conditions: dict[str, Any] = {}
        if expected_task_state is not None:
            conditions["expected_task_state"] = list(expected_task_state)
        if expected_vm_state is not None:
            conditions["expected_vm_state"] = list(expected_vm_state)
        wanted = instance.partial()
        try:
            updates, _ = self._conductor.object_call(context, wanted, "save", **conditions)
        except UnexpectedTaskState as error:
            if not error.asked_before:
                raise
            saved = self._saved(context, wanted, before)
            if saved is None:
                raise
            updates = saved
            LOG.info("Server %s was saved by an attempt whose answer got lost", instance["uuid"])
        instance.apply(_scalars(updates))

    def _saved(
        self, context: RequestContext, wanted: WireObject, before: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """The record's fields if a save of ``wanted`` was carried out, else None.

        It was when the record has every value. When only the task state is another one, the next
        request has begun already, which is certain only if another field has changed to ours.

        :param before: values that fields had as far as this host knew
        """
        changes = [field for field in wanted.changes if field not in NESTED]
        attrs = [field for field in changes if field in EVERYTHING]
        found = self.get(context, str(wanted["uuid"]), attrs).data
        same = {field for field in changes if found.get(field) == wanted.data[field]}
        others = set(changes) - {"task_state"}
        if not others <= same:
            return None
        proven = any(field in before and before[field] != found.get(field) for field in others)
        return found if "task_state" in same or proven else None

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
