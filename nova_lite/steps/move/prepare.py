"""Steps of the host that is to get a server: check, claim, record, and ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nova_lite.errors import MigrationError, UnableToMigrateToSelf
from nova_lite.guest import checks
from nova_lite.inventory.claims import Role
from nova_lite.model.server import Server
from nova_lite.model.states import TaskState
from nova_lite.services import definable, guest, moves
from nova_lite.services.claiming import claim_and_note
from nova_lite.services.groups import check_group_policy
from nova_lite.services.notes import GuestNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import decode
from nova_lite.wire.objects import WireObject


class CheckMove(Step):
    """Refuse what cannot come here, before anything is recorded."""

    name = "check_move"

    def do(self) -> None:
        work, tools = self.work, self.tools
        record, host = moves.migration(work), work.instance.get("host")
        if not host:
            raise MigrationError("Instance has no source host")
        same = record.get("source_compute") == tools.host
        new = wanted_server(work)
        if same and work.arguments["flavor"].get("id") == work.instance.get("instance_type_id"):
            raise UnableToMigrateToSelf(work.uuid, tools.host)
        moves.refuse_shrinking(work, new.flavor)
        swtpm = tools.policy.swtpm
        checks.refuse_features(new, swtpm=swtpm)
        definable.refuse(new, work.instance, guest.vifs(work), swtpm=swtpm)
        guest.board(work, new)  # another architecture


class ClaimMove(Step):
    """Claim what the server will use here, and place it on the NUMA nodes of this host."""

    name = "claim_move"

    def do(self) -> None:
        work = self.work
        noted = GuestNotes.of(work.notes).numa_topology
        claim_and_note(
            work,
            wanted_server(work),
            noted or self.wanted_topology(),
            limits=_limits(work),
            placed=noted is not None,
            role=Role.INCOMING,
        )
        check_group_policy(work)

    def wanted_topology(self) -> Any:
        """The NUMA topology that flavor and image ask for: nova-api has put it into the request."""
        request_spec = self.work.arguments["request_spec"]
        if isinstance(request_spec, WireObject) and "numa_topology" in request_spec:
            return request_spec.get("numa_topology")
        return self.work.instance.get("numa_topology")

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid, Role.INCOMING)


class RecordTarget(Step):
    """Save this host as the target of the migration, and what the server will have here.

    The save of the server is a compare-and-swap: one that was deleted is not changed.
    """

    name = "record_target"

    def done(self) -> bool:
        moves.reload(self.work)
        return moves.context_is_of(self.work, moves.migration(self.work))

    def do(self) -> None:
        work, tools = self.work, self.tools
        record = moves.migration(work)
        moves.record_target(work, record)
        kept = dict(work.instance.get("system_metadata", {}))
        kept[moves.OLD_VM_STATE] = work.instance.get("vm_state")
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.RESIZE_PREP],
            task_state=TaskState.RESIZE_PREP,
            system_metadata=kept,
            migration_context=moves.context_of(work, record),
            **moves.flavors(work, new_flavor=work.arguments["flavor"]),
        )


class AskSource(Step):
    """Ask the host that has the server to send it; a second message has no effect there."""

    name = "ask_source"

    def done(self) -> bool:
        return moves.has_begun(self.work)

    def do(self) -> None:
        work, arguments = self.work, self.work.arguments
        record = moves.migration(work)
        self.tools.peers.cast(
            work.context,
            str(record["source_compute"]),
            "resize_instance",
            instance=work.instance,
            migration=record,
            image=arguments["image"],
            flavor=arguments["flavor"],
            clean_shutdown=arguments["clean_shutdown"],
            request_spec=arguments["request_spec"],
        )


def wanted_server(work: Work) -> Server:
    """The server with the flavor that it is to have."""
    return replace(work.server, flavor=decode.flavor(work.arguments["flavor"]))


def _limits(work: Work) -> Any:
    properties = work.arguments.get("filter_properties") or {}
    limits = work.arguments.get("limits") or properties.get("limits") or {}
    return limits.get("numa_topology")
