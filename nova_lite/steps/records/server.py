"""Steps that save the server's state in its Instance record."""

from __future__ import annotations

from typing import Any

from nova_lite.errors import ServerBeingDeleted, ServerNotFound, UnexpectedTaskState
from nova_lite.model.states import (
    SHELVED_AT,
    SHELVED_HOST,
    SHELVED_IMAGE,
    PowerState,
    TaskState,
    VmState,
)
from nova_lite.services import guest
from nova_lite.services.interfaces import access_addresses
from nova_lite.services.notes import GuestNotes
from nova_lite.services.power_state import power_state
from nova_lite.services.volumes import volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.decode import utcnow

# Task states of a server that its host builds.
TAKEN = (TaskState.NETWORKING, TaskState.BLOCK_DEVICE_MAPPING, TaskState.SPAWNING)
# The host of a server that has none.
NOWHERE = {
    "host": None,
    "node": None,
    "compute_id": None,
    "launched_on": None,
    "availability_zone": None,
}


class TakeServer(Step):
    """Save this host as the server's host, with task state networking or block_device_mapping.

    One save for the three or four of nova-compute. It is a compare-and-swap
    (``expected_task_state``): a server that was deleted, or built on another host, is not changed.
    """

    name = "take_server"

    def done(self) -> bool:
        self.work.reload()
        instance = self.work.instance
        return bool(
            self.work.here
            and instance.get("vm_state") == VmState.BUILDING
            and instance.get("task_state") in TAKEN
        )

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[TaskState.SCHEDULING, None],
            expected_vm_state=[VmState.BUILDING],
            vm_state=VmState.BUILDING,
            task_state=self._task_state(),
            **here(self.work),
        )

    def _task_state(self) -> TaskState:
        volumes = volume_mappings(self.work)
        return TaskState.BLOCK_DEVICE_MAPPING if volumes else TaskState.NETWORKING


class RecordDisks(Step):
    """Save device names and buses of the local disks, and task state spawning.

    Those of a volume are saved when it is attached.
    """

    name = "record_disks"

    def do(self) -> None:
        plan = guest.disk_plan(self.work)
        for mapping in guest.mappings(self.work):
            if mapping["destination_type"] == "volume":
                continue
            wanted = plan.bdm_updates.get(str(mapping.get("uuid")), {})
            if any(mapping.get(field) != value for field, value in wanted.items()):
                self.tools.block_devices.save(self.work.context, mapping, **wanted)
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=TAKEN,
            task_state=TaskState.SPAWNING,
            root_device_name=plan.root_device_name,
            default_ephemeral_device=plan.default_ephemeral_device,
            default_swap_device=plan.default_swap_device,
        )


class ReportActive(Step):
    """Save vm_state ACTIVE and clear the task state.

    :param built: whether the server was built from nothing; it may get access addresses then
    """

    name = "report_active"

    def __init__(self, work: Work, *, built: bool = False) -> None:
        super().__init__(work)
        self._built = built

    def done(self) -> bool:
        self.work.reload()
        active = self.work.here and self.work.instance.get("vm_state") == VmState.ACTIVE
        if active:
            self._tell_host()
        return active

    def do(self) -> None:
        system_metadata = unshelved(self.work)
        system_metadata.update(GuestNotes.of(self.work.notes).registered or {})
        system_metadata.pop("network_allocated", None)  # of a build that another host gave up
        system_metadata.setdefault("boot_roles", ",".join(self.work.context.roles or ()))
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[TaskState.SPAWNING],
            vm_state=VmState.ACTIVE,
            task_state=None,
            power_state=int(PowerState.RUNNING),
            launched_at=utcnow(),
            config_drive="True" if guest.has_config_drive(self.work) else "",
            system_metadata=system_metadata,
            **self._access_addresses(),
        )
        self._tell_host()

    def _access_addresses(self) -> dict[str, str]:
        """Those of [DEFAULT]default_access_ip_network_name, unless the user has given any."""
        instance = self.work.instance
        given = instance.get("access_ip_v4") or instance.get("access_ip_v6")
        if given or not self._built:
            return {}
        network = self.tools.conf.default_access_ip_network_name
        return access_addresses(guest.vifs(self.work), network)

    def _tell_host(self) -> None:
        self.tools.claims.build_ended(failed=False)
        tell_host(self.work, VmState.ACTIVE)


class ReportPower(Step):
    """Save the given vm_state and the guest's power state, and clear the task state.

    :param expected: task states that the server may be in; in another one, or in none, somebody
        has done something else with it
    :param fields: further fields to save
    """

    name = "report_power"

    def __init__(
        self, work: Work, vm_state: VmState, expected: list[str | None], **fields: Any
    ) -> None:
        super().__init__(work)
        self._vm_state = vm_state
        self._expected = expected
        self._fields = fields

    def done(self) -> bool:
        self.work.reload()
        instance = self.work.instance
        reported = bool(
            instance.get("task_state") is None and instance.get("vm_state") == self._vm_state
        )
        if reported:
            tell_host(self.work, self._vm_state)
        return reported

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=self._expected,
            vm_state=self._vm_state,
            task_state=None,
            # Without a guest there is no power; a start defines it anew.
            power_state=int(power_state(self.tools.hypervisor, self.work.uuid)),
            **self._fields,
        )
        tell_host(self.work, self._vm_state)


class MarkRebooting(Step):
    """Save task state ``reboot_started`` or ``reboot_started_hard``."""

    name = "mark_rebooting"

    def __init__(self, work: Work, states: tuple[str, ...]) -> None:
        super().__init__(work)
        self._states = states

    def done(self) -> bool:
        """After a power failure, the end of the reboot may be recorded already."""
        return self.work.rebooted and self.work.instance.get("task_state") is None

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=self._states,
            task_state=self._states[-1],
        )


class TouchRecord(Step):
    """Set the record's time of the last change: what else was saved is not in this record, and
    clients of the API ask for the servers that have changed since a time."""

    name = "touch_record"

    def do(self) -> None:
        self.tools.instances.save(self.work.context, self.work.instance, updated_at=utcnow())


class RecordDeleted(Step):
    """Save vm_state DELETED, and delete the server's allocations in Placement."""

    name = "record_deleted"

    def do(self) -> None:
        work, tools = self.work, self.tools
        try:
            tools.instances.save(
                work.context,
                work.instance,
                vm_state=VmState.DELETED,
                task_state=None,
                power_state=int(PowerState.NOSTATE),
                terminated_at=utcnow(),
                cleaned=True,
            )
        except ServerNotFound:
            pass  # the API deleted the record itself while this host was away
        if tools.conf.reclaim_instance_interval > 0:
            # A delete that nobody asked for just now must not take what somebody gives it.
            tools.placement.release_allocations(work.uuid)
        else:
            tools.placement.delete_allocations(work.uuid)


class ForgetConsoles(Step):
    """Delete the server's console tokens: its guest was removed."""

    name = "forget_consoles"

    def do(self) -> None:
        self.tools.console_tokens.clean(self.work.context, self.work.uuid)


class ForgetServer(Step):
    """Destroy the Instance record, as the last step of a delete.

    nova-conductor destroys its block device mappings, interfaces and console tokens with it.
    """

    name = "forget_server"

    def do(self) -> None:
        work, tools = self.work, self.tools
        try:
            tools.instances.destroy(work.context, work.instance)
        except ServerNotFound:
            pass  # destroyed before we were cut off
        tools.usage_changed()


def here(work: Work) -> dict[str, Any]:
    """The Instance fields that name this host, with the NUMA topology that was claimed."""
    tools, topology = work.tools, GuestNotes.of(work.notes).numa_topology
    fields: dict[str, Any] = {
        "host": tools.host,
        "launched_on": tools.host,
        "node": tools.node,
        "compute_id": tools.node_id,
    }
    return {**fields, "numa_topology": topology} if topology else fields


def moved_here(work: Work) -> dict[str, Any]:
    """As :func:`here`, for a server that was launched on another host."""
    fields = here(work)
    del fields["launched_on"]
    return fields


def reload_wanted(work: Work) -> None:
    """Read the record of a server that is to run on this host again; others may have changed it.

    :raises ServerBeingDeleted: it is not wanted any more
    :raises UnexpectedTaskState: another host has it
    """
    work.reload()
    if work.instance.get("task_state") == TaskState.DELETING:
        raise ServerBeingDeleted(f"Server {work.uuid} is being deleted")
    if work.elsewhere:
        raise UnexpectedTaskState(f"Server {work.uuid} is on another host by now")


def is_active_here(work: Work) -> bool:
    """Whether the record says that the server is active on this host."""
    try:
        return ReportActive(work).done()
    except ServerNotFound:
        return False


def tell_host(work: Work, vm_state: VmState) -> None:
    """Update the server's state in the claims, and report the inventory soon."""
    work.tools.claims.note(work.uuid, vm_state=vm_state)
    work.tools.usage_changed()


def unshelved(work: Work) -> dict[str, str]:
    """The server's system_metadata without the keys of a shelved server."""
    shelved = (SHELVED_AT, SHELVED_IMAGE, SHELVED_HOST)
    stored = dict(work.instance.get("system_metadata", {}))
    return {key: value for key, value in stored.items() if key not in shelved}
