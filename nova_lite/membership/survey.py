"""Servers that this host finds in a task state which nobody is at work on any more.

Operations of nova_lite have a journal and are resumed from there. What is looked at here was left
by a stock nova-compute, or its request was lost while no agent ran. A request that still waits at
the broker is not lost: the survey comes after the messages that waited (see ``rpc.backlog``), looks
at a server when nothing else is being done with it, and reads its record again then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import FOR_HOST, Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.conductor.records import BlockDevices
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError, ServerNotFound, UnexpectedTaskState, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import OUTLIVES_REBOOT, PowerState, TaskState, VmState
from nova_lite.operations.base import Operation
from nova_lite.operations.restart import AfterRestart, Settlement, by_task_state
from nova_lite.services import definable
from nova_lite.services.ownership import Place, place
from nova_lite.services.power_state import power_state
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

OFF = (PowerState.NOSTATE, PowerState.SHUTDOWN, PowerState.CRASHED)


class Survey:
    """Puts every server of this host into a state that its user can act on."""

    def __init__(
        self,
        conf: Any,
        verbs: Mapping[str, type[Operation]],
        instances: Instances,
        block_devices: BlockDevices,
        actions: Actions,
        hypervisor: Hypervisor,
        engine: Engine,
        migrations: Migrations,
    ) -> None:
        """:param verbs: RPC method -> its operation, which says what becomes of its task states"""
        self._conf = conf
        self._rules = by_task_state(verbs)
        self._instances = instances
        self._block_devices = block_devices
        self._actions = actions
        self._hypervisor = hypervisor
        self._engine = engine
        self._migrations = migrations

    @classmethod
    def of(cls, tools: Toolbox, engine: Engine, verbs: Mapping[str, type[Operation]]) -> Survey:
        """The survey of a host with these tools."""
        return cls(
            tools.conf, verbs, tools.instances, tools.block_devices, tools.actions,
            tools.hypervisor, engine, tools.migrations,
        )  # fmt: skip

    def unsettled(self, instances: list[WireObject], apart: Collection[str]) -> list[str]:
        """The servers that something has to be done about, unless a message that waits does it.

        :param instances: the servers of this host, as read while it joined
        :param apart: servers that are being resumed or removed; they are not looked at
        :raises HypervisorUnavailable: guests cannot be listed
        """
        states = {domain.uuid: domain.power_state for domain in self._hypervisor.domains()}
        found = []
        for instance in instances:
            uuid = str(instance["uuid"])
            if uuid in apart or place(instance, self._conf.host) is not Place.HERE:
                continue
            if self._is_unsettled(instance, states.get(uuid, PowerState.NOSTATE)):
                found.append(uuid)
        return found

    def name_foreign(self, instances: list[WireObject]) -> None:
        """Name the servers of this host whose guests this agent cannot define.

        :raises HypervisorUnavailable: guests cannot be listed
        """
        found = definable.on_host(self._hypervisor, instances, self._conf)
        for uuid, reason in found.items():
            LOG.warning("The guest of server %s goes on as it is, but cannot be started, rebooted "
                        "or rebuilt by this agent: %s", uuid, reason)  # fmt: skip

    def settle(self, uuids: Iterable[str]) -> None:
        """Look at servers again, each when nothing else is being done with it."""
        for uuid in uuids:
            self._engine.after(uuid, f"survey of server {uuid}", self._job(uuid))

    def restore_power(self, uuids: Iterable[str]) -> None:
        """Start guests again that lost their power, once what was resumed of them is over.

        What was resumed does not always start them; everything else about them is its business.
        """
        if self._conf.resume_guests_state_on_host_boot:
            for uuid in uuids:
                self._engine.after(
                    uuid, f"look at the guest of server {uuid}", self._job(uuid, power_only=True)
                )

    def _job(self, uuid: str, *, power_only: bool = False) -> Callable[[], None]:
        def look() -> None:
            try:
                self._look_again(RequestContext.admin(), uuid, power_only)
            except (ServerNotFound, UnexpectedTaskState) as error:
                LOG.info("Server %s is left as it is: %s", uuid, error)
            except NovaLiteError as error:
                LOG.error("Could not settle server %s at start: %s", uuid, error)

        return look

    def _look_again(self, context: RequestContext, uuid: str, power_only: bool) -> None:
        """What was read at start may be old: requests that waited were carried out since."""
        instance = self._instances.get(context, uuid, FOR_HOST)
        if place(instance, self._conf.host) is not Place.HERE:
            return
        state = power_state(self._hypervisor, uuid)
        if power_only and self._rule(instance) is not None:
            return
        if self._is_unsettled(instance, state):
            self._settle(context, instance, state)

    def _is_unsettled(self, instance: WireObject, state: PowerState) -> bool:
        if self._rule(instance) is not None:
            return True
        idle = instance.get("task_state") is None
        return idle and self._lost_its_power(instance, state)

    def _rule(self, instance: WireObject) -> tuple[str, AfterRestart] | None:
        """What is to be done about the server's task, and the verb that does it."""
        vm_state, task = instance.get("vm_state"), instance.get("task_state")
        if vm_state == VmState.DELETED:
            task = TaskState.DELETING  # only the end of it is missing
        elif vm_state == VmState.BUILDING and task != TaskState.DELETING:
            task = TaskState.SPAWNING
        found = self._rules.get(task) if task is not None else None
        if found is None or (vm_state == VmState.ERROR and not found[1].in_error):
            return None
        return found

    def _settle(self, context: RequestContext, instance: WireObject, state: PowerState) -> None:
        found = self._rule(instance)
        if found is None:
            self._power_on(context, instance)
            return
        method, rule = found
        if rule.unless_running and state == PowerState.RUNNING:
            self._runs(context, instance)
        elif rule.settlement is Settlement.REDO:
            self._redo(context, method, rule, instance)
        elif rule.settlement is Settlement.FAIL:
            self._fail(context, instance)
        else:
            LOG.info("Clearing task state %s of server %s", instance["task_state"],
                     instance["uuid"])  # fmt: skip
            self._save(context, instance, task_state=None)
            if self._lost_its_power(instance, state):
                self._power_on(context, instance)

    def _save(self, context: RequestContext, instance: WireObject, **fields: Any) -> None:
        """Save, if nobody else has done anything with the server since it was read."""
        expected = [instance.get("task_state")]
        self._instances.save(context, instance, expected_task_state=expected, **fields)

    def _runs(self, context: RequestContext, instance: WireObject) -> None:
        """The guest runs: record that, whatever was asked for."""
        before = instance.get("vm_state")
        self._save(
            context,
            instance,
            vm_state=before if before in OUTLIVES_REBOOT else VmState.ACTIVE,
            task_state=None,
            power_state=int(PowerState.RUNNING),
        )

    def _lost_its_power(self, instance: WireObject, state: PowerState) -> bool:
        """The host was rebooted under a running guest, and the operator wants it back."""
        return bool(
            self._conf.resume_guests_state_on_host_boot
            and instance.get("power_state") == PowerState.RUNNING
            and instance.get("vm_state") not in (VmState.ERROR, VmState.SOFT_DELETED)
            and state in OFF
        )

    def _power_on(self, context: RequestContext, instance: WireObject) -> None:
        self._save(context, instance, task_state=TaskState.REBOOTING_HARD)
        method, rule = self._rules[TaskState.REBOOTING_HARD]
        self._redo(context, method, rule, instance)

    def _fail(
        self,
        context: RequestContext,
        instance: WireObject,
        what: str = "it built this server; delete it and try again",
    ) -> None:
        """A server that is not whole, as stock leaves it: nobody can tell what it lacks."""
        failure = Failure(
            "BuildAbortException",
            f"The compute agent was stopped while {what}",
            500,
            Verdict.ABORT,
            True,
            "",
        )
        LOG.warning("Server %s was left half done by another agent: ERROR", instance["uuid"])
        self._save(context, instance, vm_state=VmState.ERROR, task_state=None)
        self._actions.fault(context, str(instance["uuid"]), failure)

    def _redo(
        self, context: RequestContext, method: str, rule: AfterRestart, instance: WireObject
    ) -> None:
        uuid, arguments = str(instance["uuid"]), dict(rule.arguments)
        if rule.with_migration:
            arguments["migration"] = self._migrations.latest_of_server(context, uuid)
            if arguments["migration"] is None:
                what = "it moved this server, whose migration record is gone; reboot it hard"
                self._fail(context, instance, what)
                return
        if rule.task_state is not None:
            self._save(context, instance, task_state=rule.task_state)
        if rule.with_mappings:
            arguments["bdms"] = WireObject.new(
                "BlockDeviceMappingList",
                VERSIONS["BlockDeviceMappingList"],
                objects=self._block_devices.of_server(context, uuid),
            )
        LOG.info("Doing %s of server %s again", method, uuid)
        self._engine.begin(method, context, uuid, {"instance": instance, **arguments})
