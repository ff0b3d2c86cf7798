"""What this agent finds on arrival: servers whose last operation nobody finished.

Operations of nova_lite have a journal and are resumed from there. What is looked at here was left
by a stock nova-compute, or was asked for while no agent ran.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.records import BlockDevices
from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.model.host import DomainInfo
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services.ownership import Place, place
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

BUILD_TASKS = (
    TaskState.SCHEDULING,
    TaskState.BLOCK_DEVICE_MAPPING,
    TaskState.NETWORKING,
    TaskState.SPAWNING,
)
REBUILD_TASKS = (
    TaskState.REBUILDING,
    TaskState.REBUILD_BLOCK_DEVICE_MAPPING,
    TaskState.REBUILD_SPAWNING,
)
CLEARED_TASKS = (
    TaskState.IMAGE_SNAPSHOT_PENDING,
    TaskState.IMAGE_SNAPSHOT,
    TaskState.IMAGE_PENDING_UPLOAD,
    TaskState.IMAGE_UPLOADING,
    TaskState.IMAGE_BACKUP,
    TaskState.UPDATING_PASSWORD,
    TaskState.SHELVING,
    TaskState.SHELVING_IMAGE_PENDING_UPLOAD,
    TaskState.SHELVING_IMAGE_UPLOADING,
    TaskState.RESIZE_PREP,
)
RESCUE_TASKS = (TaskState.RESCUING, TaskState.UNRESCUING)
# Asked for before the guest was touched: if the request still waits at the broker, it comes now.
NOT_BEGUN_TASKS = (
    TaskState.REBOOTING,
    TaskState.REBOOTING_HARD,
    TaskState.PAUSING,
    TaskState.UNPAUSING,
)
# Task -> what is done again, and its arguments; all of these may be done twice.
REDONE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    TaskState.POWERING_OFF: ("stop_instance", {"clean_shutdown": True}),
    TaskState.POWERING_ON: ("start_instance", {}),
    TaskState.PAUSING: ("pause_instance", {}),
    TaskState.UNPAUSING: ("unpause_instance", {}),
    TaskState.SUSPENDING: ("suspend_instance", {}),
    TaskState.RESUMING: ("resume_instance", {}),
    TaskState.SOFT_DELETING: ("soft_delete_instance", {}),
    TaskState.RESTORING: ("restore_instance", {}),
    TaskState.SHELVING_OFFLOADING: ("shelve_offload_instance", {"clean_shutdown": False}),
}
# What can be asked of a server in ERROR, and must not stay half done; the rest of its tasks is old.
ERROR_EXCEPT = (
    TaskState.DELETING,
    TaskState.POWERING_OFF,
    TaskState.REBOOTING_HARD,
    TaskState.REBOOT_PENDING_HARD,
    TaskState.REBOOT_STARTED_HARD,
    *REBUILD_TASKS,
    *RESCUE_TASKS,
)


class Survey:
    """Puts every server of this host into a state that its user can act on."""

    def __init__(
        self,
        conf: Any,
        instances: Instances,
        block_devices: BlockDevices,
        actions: Actions,
        engine: Engine,
    ) -> None:
        self._conf = conf
        self._instances = instances
        self._block_devices = block_devices
        self._actions = actions
        self._engine = engine

    def run(
        self, instances: list[WireObject], domains: list[DomainInfo], resumed: set[str]
    ) -> None:
        """Look at each server once, those with ``resumed`` operations aside.

        One that cannot be helped is logged and passed over.
        """
        states = {domain.uuid: domain.power_state for domain in domains}
        for instance in instances:
            uuid = str(instance["uuid"])
            if place(instance, self._conf.host) is not Place.HERE or uuid in resumed:
                continue
            try:
                self._settle(RequestContext.admin(), instance, states.get(uuid))
            except NovaLiteError as error:
                LOG.error("Could not settle server %s at start: %s", uuid, error)

    def _settle(
        self, context: RequestContext, instance: WireObject, state: PowerState | None
    ) -> None:
        vm_state, task = instance.get("vm_state"), instance.get("task_state")
        if vm_state == VmState.SOFT_DELETED and task is None:
            return
        if vm_state == VmState.ERROR and task not in ERROR_EXCEPT:
            return
        if task == TaskState.DELETING or vm_state == VmState.DELETED:
            self._delete(context, instance)
        elif vm_state == VmState.BUILDING or task in BUILD_TASKS or task in REBUILD_TASKS:
            self._interrupted(context, instance)
        elif task in RESCUE_TASKS:
            self._unrescue(context, instance)
        elif task in NOT_BEGUN_TASKS and state == PowerState.RUNNING:
            self._runs(context, instance)
        elif task in REDONE:
            method, arguments = REDONE[task]
            self._redo(context, method, instance, **arguments)
        elif task is not None and task.startswith("reboot"):
            self._rebooting(context, instance, state, hard=task.endswith("_hard"))
        elif task is None or task in CLEARED_TASKS:
            self._idle(context, instance, state)

    def _idle(
        self, context: RequestContext, instance: WireObject, state: PowerState | None
    ) -> None:
        """Nothing is to be done to it that anybody knows of; is its guest there?"""
        if instance.get("task_state") is not None:
            LOG.info("Clearing task state %s of server %s", instance["task_state"],
                     instance["uuid"])  # fmt: skip
            self._instances.save(context, instance, task_state=None)
        if self._lost_its_power(instance, state):
            self._redo(
                context, "reboot_instance", instance, reboot_type="HARD", block_device_info=None
            )

    def _runs(self, context: RequestContext, instance: WireObject) -> None:
        """Whatever was asked for, the guest runs now."""
        self._instances.save(
            context,
            instance,
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=int(PowerState.RUNNING),
        )

    def _lost_its_power(self, instance: WireObject, state: PowerState | None) -> bool:
        """The host was rebooted under a running guest, and the operator wants it back."""
        return bool(
            self._conf.resume_guests_state_on_host_boot
            and instance.get("power_state") == PowerState.RUNNING
            and state in (None, PowerState.SHUTDOWN, PowerState.CRASHED)
        )

    def _delete(self, context: RequestContext, instance: WireObject) -> None:
        LOG.info("Server %s was being deleted; going on", instance["uuid"])
        mappings = self._block_devices.of_server(context, str(instance["uuid"]))
        bdms = WireObject.new(
            "BlockDeviceMappingList", VERSIONS["BlockDeviceMappingList"], objects=mappings
        )
        self._redo(context, "terminate_instance", instance, bdms=bdms)

    def _interrupted(self, context: RequestContext, instance: WireObject) -> None:
        """A build that a stock agent left half done, as stock itself ends it."""
        failure = Failure(
            "BuildAbortException",
            "The compute agent was stopped while it built this server; delete it and try again",
            500,
            Verdict.ABORT,
            True,
            "",
        )
        LOG.warning("Server %s was left half built by another agent: ERROR", instance["uuid"])
        self._actions.fault(context, str(instance["uuid"]), failure)
        self._instances.save(context, instance, vm_state=VmState.ERROR, task_state=None)

    def _unrescue(self, context: RequestContext, instance: WireObject) -> None:
        """Back to the guest's own disks: what a rescue was asked for is known to nobody now."""
        self._instances.save(context, instance, task_state=TaskState.UNRESCUING)
        self._redo(context, "unrescue_instance", instance)

    def _rebooting(
        self,
        context: RequestContext,
        instance: WireObject,
        state: PowerState | None,
        *,
        hard: bool,
    ) -> None:
        if state == PowerState.RUNNING and "started" in instance["task_state"]:
            self._runs(context, instance)
            return
        self._redo(
            context,
            "reboot_instance",
            instance,
            reboot_type="HARD" if hard else "SOFT",
            block_device_info=None,
        )

    def _redo(
        self, context: RequestContext, method: str, instance: WireObject, **arguments: Any
    ) -> None:
        LOG.info("Doing %s of server %s again", method, instance["uuid"])
        self._engine.begin(
            method, context, str(instance["uuid"]), {"instance": instance, **arguments}
        )
