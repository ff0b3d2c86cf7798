"""The smaller records that belong to one server."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from nova_lite.conductor.client import Conductor
from nova_lite.wire import decode
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.network_info import cache_of
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS


class BlockDevices:
    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def of_server(self, context: RequestContext, server_uuid: str) -> list[WireObject]:
        return list(self.list_of_server(context, server_uuid).objects())

    def of_servers(self, context: RequestContext, servers: Iterable[str]) -> list[WireObject]:
        """Those of several servers, in one call."""
        found = self._conductor.class_call(
            context, "BlockDeviceMappingList.get_by_instance_uuids", list(servers)
        )
        return list(found.objects())

    def list_of_server(self, context: RequestContext, server_uuid: str) -> WireObject:
        """The same as the list object that RPC arguments are."""
        found: WireObject = self._conductor.class_call(
            context, "BlockDeviceMappingList.get_by_instance_uuid", server_uuid
        )
        return found

    def by_volume(
        self, context: RequestContext, server_uuid: str, volume_id: str
    ) -> WireObject | None:
        """A server's mapping of a volume; None where it has none."""
        try:
            found: WireObject = self._conductor.class_call(
                context,
                "BlockDeviceMapping.get_by_volume_and_instance",
                volume_id,
                server_uuid,
            )
        except RemoteFailure as error:
            if error.exc_type != "VolumeBDMNotFound":
                raise
            return None
        return found

    def create(self, context: RequestContext, server_uuid: str, **fields: Any) -> WireObject:
        """Make a mapping; returns it with what the database added."""
        return self._conductor.create(
            context, "BlockDeviceMapping", instance_uuid=server_uuid, **fields
        )

    def save(self, context: RequestContext, mapping: WireObject, **fields: Any) -> None:
        """Save ``fields`` of a mapping."""
        self._conductor.save(context, mapping, **fields)

    def destroy(self, context: RequestContext, mapping: WireObject) -> None:
        """Remove a mapping; one that is gone is success."""
        self._conductor.object_call(context, mapping.partial("id"), "destroy")


class Interfaces:
    """VirtualInterface records: the metadata API and device tags read them."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def create(
        self, context: RequestContext, server_uuid: str, port_id: str, mac: str, tag: str | None
    ) -> None:
        """Record a port; one that is there already is left as it is."""
        try:
            self._conductor.create(
                context,
                "VirtualInterface",
                address=f"{mac}/{port_id}",
                instance_uuid=server_uuid,
                uuid=port_id,
                tag=tag,
            )
        except RemoteFailure as error:
            if error.exc_type not in ("VirtualInterfaceCreateException", "DBDuplicateEntry"):
                raise

    def delete(self, context: RequestContext, port_id: str) -> None:
        """Remove the record of a port; one that is gone is success."""
        found = self._conductor.class_call(context, "VirtualInterface.get_by_uuid", port_id)
        if found is not None:
            self._conductor.object_call(context, found.partial("id"), "destroy")

    def order(self, context: RequestContext, server_uuid: str) -> list[str]:
        """The ids of a server's ports in the order in which they became its own."""
        found = self._conductor.class_call(
            context, "VirtualInterfaceList.get_by_instance_uuid", server_uuid
        )
        rows = sorted(found.objects(), key=lambda row: int(row["id"]))
        return [str(row["uuid"]) for row in rows]

    def delete_all(self, context: RequestContext, server_uuid: str) -> None:
        self._conductor.class_call(
            context, "VirtualInterface.delete_by_instance_uuid", server_uuid
        )


class InfoCaches:
    """The network caches of servers; remembers for ``remembered`` seconds what it has saved: nobody
    but the host of a server saves its cache."""

    remembered = 10.0

    def __init__(
        self, conductor: Conductor, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """:param clock: seconds since some moment"""
        self._conductor = conductor
        self._clock = clock
        self._lock = threading.Lock()
        self._saved: dict[str, tuple[float, str]] = {}

    def save(self, context: RequestContext, server_uuid: str, network_info: str) -> None:
        """Store the network model (JSON) that the API renders addresses from."""
        self._forget(server_uuid)
        self._conductor.object_call(context, cache_of(server_uuid, network_info), "save")
        self.note(server_uuid, network_info)

    def note(self, server_uuid: str, network_info: str) -> None:
        """Say that a cache was saved just now with the server's record."""
        now = self._clock()
        with self._lock:
            young = {
                uuid: (at, text)
                for uuid, (at, text) in self._saved.items()
                if now - at < self.remembered
            }
            self._saved = {**young, server_uuid: (now, network_info)}

    def recent(self, server_uuid: str) -> str | None:
        """A server's cache as this process has saved it lately; None: it has not."""
        with self._lock:
            at, text = self._saved.get(server_uuid, (float("-inf"), None))
        return text if self._clock() - at < self.remembered else None

    def _forget(self, server_uuid: str) -> None:
        with self._lock:
            self._saved.pop(server_uuid, None)


class ConsoleTokens:
    """Console tokens; remembers when those that it made expire.

    Nobody but the host of a server makes tokens for it. So a host knows when there are none that
    lead to it, once those that an earlier process may have made have expired.
    """

    def __init__(
        self,
        conductor: Conductor,
        clock: Callable[[], float] = time.monotonic,
        ttl: float = float("inf"),
    ) -> None:
        """
        :param clock: seconds since some moment
        :param ttl: seconds for which tokens of an earlier process may be valid
        """
        self._conductor = conductor
        self._clock = clock
        # An earlier process may have made tokens, too.
        self._expiries: list[float] = [clock()]
        self._unknown_until = clock() + ttl
        self._lock = threading.Lock()
        self._valid_until: dict[str, float] = {}

    def authorize(self, context: RequestContext, ttl: int, **fields: Any) -> str:
        """Make a console token valid for ``ttl`` seconds; only its hash is stored."""
        token = WireObject.new("ConsoleAuthToken", VERSIONS["ConsoleAuthToken"], **fields)
        server = str(fields.get("instance_uuid"))
        self._made(server, ttl)  # a guest that is removed at the same time
        _, value = self._conductor.object_call(context, token, "authorize", ttl=ttl)
        self._expiries.append(self._made(server, ttl))
        return str(value)

    def _made(self, server_uuid: str, ttl: int) -> float:
        with self._lock:
            expiry = self._valid_until[server_uuid] = self._clock() + ttl
        return expiry

    def clean_expired(self, context: RequestContext) -> None:
        """Forget the cell's expired tokens; asks nobody unless one made here has expired."""
        now = self._clock()
        expired = [expiry for expiry in self._expiries if expiry <= now]
        if not expired:
            return
        self._conductor.class_call(context, "ConsoleAuthToken.clean_expired_console_auths")
        with self._lock:
            valid = {uuid: end for uuid, end in self._valid_until.items() if end > now}
            self._valid_until = valid
        for expiry in expired:
            self._expiries.remove(expiry)

    def clean(self, context: RequestContext, server_uuid: str) -> None:
        """Forget the tokens that lead to a server's guest on this host; asks nobody where there is
        none that is valid."""
        now = self._clock()
        with self._lock:
            known = self._valid_until.get(server_uuid, now)
        if max(known, self._unknown_until) > now:
            self._conductor.class_call(
                context, "ConsoleAuthToken.clean_console_auths_for_instance", server_uuid
            )
        with self._lock:
            if self._valid_until.get(server_uuid) == known:
                del self._valid_until[server_uuid]


class VolumeUsages:
    """What servers have read from their volumes and written to them."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def save(
        self, context: RequestContext, *, ended: bool = False, **counters: Any
    ) -> dict[str, Any]:
        """Record a volume's counters since its guest started.

        :param ended: the guest lets go of the volume: they are added to the totals
        :param counters: volume_id, instance_uuid, project_id, user_id, availability_zone,
            curr_reads, curr_read_bytes, curr_writes, curr_write_bytes
        :returns: all that is known of the volume's use by now, totals among it
        """
        usage = WireObject.new("VolumeUsage", VERSIONS["VolumeUsage"], **counters)
        updates, _ = self._conductor.object_call(context, usage, "save", update_totals=ended)
        usage.apply(updates)
        return usage.data


class ShareMappings:
    """Which shares servers have. A mapping is always saved whole: one that is gone is made anew."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def of_server(self, context: RequestContext, server_uuid: str) -> list[WireObject]:
        found = self._conductor.class_call(
            context, "ShareMappingList.get_by_instance_uuid", server_uuid
        )
        return list(found.objects())

    def of_share(self, context: RequestContext, share_id: str) -> list[WireObject]:
        """The mappings of a share, of servers anywhere."""
        found = self._conductor.class_call(context, "ShareMappingList.get_by_share_id", share_id)
        return list(found.objects())

    def save(self, context: RequestContext, mapping: WireObject, status: str) -> None:
        """Save a mapping's status; asks nobody where it is that already."""
        if mapping["status"] != status:
            mapping.set(status=status)
            updates, _ = self._conductor.object_call(context, mapping, "save")
            mapping.apply(updates)

    def delete(self, context: RequestContext, mapping: WireObject) -> None:
        """Remove a mapping; one that is gone is success."""
        self._conductor.object_call(context, mapping, "delete")


class Builds:
    """Handing a boot back, so that the conductor tries the next host."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def reschedule(
        self,
        context: RequestContext,
        instance: WireObject,
        request: dict[str, Any],
        filter_properties: dict[str, Any],
        host_list: Iterable[Any],
    ) -> None:
        """Cast ``build_instances`` with the alternates left in ``host_list``."""
        self._conductor.task_cast(
            context,
            "build_instances",
            "1.19",
            instances=[instance],
            image=request["image"],
            filter_properties=filter_properties,
            admin_password=request["admin_password"],
            injected_files=request["injected_files"],
            requested_networks=request["requested_networks"],
            security_groups=request["security_groups"],
            request_spec=request["request_spec"],
            host_lists=[list(host_list)],
        )


class TaskLogs:
    """What hosts did in a period of time; ``os-instance_usage_audit_log`` shows the usage audits.

    Times are naive UTC.
    """

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def find(
        self,
        context: RequestContext,
        task: str,
        host: str,
        beginning: datetime.datetime,
        ending: datetime.datetime,
    ) -> WireObject | None:
        """The record of a period; its ``state`` is RUNNING or DONE."""
        found: WireObject | None = self._conductor.class_call(
            context, "TaskLog.get", task, beginning.isoformat(), ending.isoformat(), host
        )
        return found

    def begin(
        self,
        context: RequestContext,
        task: str,
        host: str,
        beginning: datetime.datetime,
        ending: datetime.datetime,
        items: int,
    ) -> WireObject:
        """Record that a task of so many items begins."""
        log = WireObject.new(
            "TaskLog",
            VERSIONS["TaskLog"],
            task_name=task,
            host=host,
            period_beginning=decode.moment(beginning),
            period_ending=decode.moment(ending),
            task_items=items,
            message="Instance usage audit started...",
        )
        self._conductor.object_call(context, log, "begin_task")
        return log

    def end(self, context: RequestContext, log: WireObject, errors: int, message: str) -> None:
        """Record that it is done."""
        log.set(errors=errors, message=message)
        self._conductor.object_call(context, log, "end_task")
