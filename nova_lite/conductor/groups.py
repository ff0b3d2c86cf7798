"""Server groups: who else is in the group of a server, and what is asked of its members."""

from __future__ import annotations

from dataclasses import dataclass

from nova_lite.conductor.client import Conductor
from nova_lite.wire.context import RequestContext
from nova_lite.wire.decode import is_uuid
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject


@dataclass(frozen=True)
class Group:
    """A server group.

    ``members`` are uuids of servers; ``per_host`` is how many of them one host may have where the
    policy is anti-affinity. ``record`` is the InstanceGroup object.
    """

    policy: str | None
    members: frozenset[str]
    per_host: int
    record: WireObject


class Groups:
    """InstanceGroup records, which are in the API's database: a cell's conductor may not reach
    them."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    def named(self, context: RequestContext, hint: str) -> Group | None:
        """The group that a scheduler hint names, by uuid or by name; None when there is none."""
        return self._find(context, "get_by_uuid" if is_uuid(hint) else "get_by_name", hint)

    def of_server(self, context: RequestContext, uuid: str) -> Group | None:
        """The group that a server is in; None when it is in none."""
        return self._find(context, "get_by_instance_uuid", uuid)

    def _find(self, context: RequestContext, method: str, key: str) -> Group | None:
        try:
            record = self._conductor.class_call(context, f"InstanceGroup.{method}", key)
        except RemoteFailure as error:
            if error.exc_type == "InstanceGroupNotFound":
                return None
            raise
        return Group(
            record.get("policy"),
            frozenset(record.get("members", ())),
            int(record.get("_rules", {}).get("max_server_per_host", 1)),
            record,
        )

    def hosts(self, context: RequestContext, group: Group, without: str) -> frozenset[str]:
        """The hosts that have members of the group, the server ``without`` aside."""
        _, hosts = self._conductor.object_call(
            context, group.record, "get_hosts", exclude=[without]
        )
        return frozenset(hosts)
