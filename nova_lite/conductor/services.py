"""Service and ComputeNode records of this host."""

from __future__ import annotations

from typing import Any

from nova_lite.conductor.client import Conductor
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject

BINARY = "nova-compute"


class Services:
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def of_host(self, context: RequestContext, host: str) -> WireObject | None:
        """The Service record of this host, None when it never joined."""
        found: WireObject | None = self._conductor.class_call(
            context, "Service.get_by_host_and_binary", host, BINARY
        )
        return found

    def minimum_version(self, context: RequestContext) -> int:
        """Lowest version of all nova-compute services in the cell, 0 when there is none."""
        return int(
            self._conductor.class_call(context, "Service.get_minimum_version", BINARY) or 0
        )

    def conductor_versions(self, context: RequestContext) -> list[int]:
        """Versions of all nova-conductor services, lowest first: they tell the release that runs.

        They differ while the control plane is being upgraded, and where the record of a conductor
        that is gone was left. None: there is no record.
        """
        found = self._conductor.class_call(
            context, "ServiceList.get_by_binary", "nova-conductor"
        )
        return sorted(int(service.get("version", 0)) for service in found.objects())

    def create(self, context: RequestContext, host: str, version: int) -> WireObject:
        """Join: make the Service record; the conductor decides whether it starts enabled."""
        return self._conductor.create(
            context,
            "Service",
            host=host,
            binary=BINARY,
            topic="compute",
            report_count=0,
            version=version,
        )

    def save(self, context: RequestContext, service: WireObject, **fields: Any) -> None:
        """Save ``fields``; the heartbeat is a save of ``report_count`` alone."""
        self._conductor.save(context, service, **fields)


class ComputeNodes:
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def of_host(self, context: RequestContext, host: str) -> list[WireObject]:
        """All ComputeNode records of this host."""
        try:
            found = self._conductor.class_call(
                context, "ComputeNodeList.get_all_by_host", host, use_slave=False
            )
        except RemoteFailure as error:
            if error.exc_type == "ComputeHostNotFound":
                return []
            raise
        return list(found.objects())

    def by_uuid(self, context: RequestContext, uuid: str) -> WireObject | None:
        """The record with this uuid, whatever host it names."""
        found = self._conductor.class_call(context, "ComputeNodeList.get_all_by_uuids", [uuid])
        return next(found.objects(), None)

    def create(self, context: RequestContext, **fields: Any) -> WireObject:
        return self._conductor.create(context, "ComputeNode", **fields)

    def save(self, context: RequestContext, node: WireObject, **fields: Any) -> None:
        """Save ``fields``; without a change nobody is asked."""
        self._conductor.save(context, node, **fields)
