"""build_and_run_instance: from a scheduled request to a running guest.

Resume rule: forward. An interrupted boot continues where it was; what exists already is kept.
Roll back: every step is undone; then, when the host was at fault, the conductor is asked to try the
next host (reschedule), and when the request was, the server goes to ERROR with a fault.

After a power failure the secrets of the request are lost. A boot fails where it needs one that is
not in the records: the token to make a volume or a port, password and files for a config drive. It
is not handed to another host then, which would miss them, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nova_lite.errors import (
    AutoAllocationFailed,
    BuildAborted,
    ControlPlaneUnavailable,
    FixedIpInvalidOnHost,
    GroupPolicyViolation,
    NoMoreFixedIps,
    NovaLiteError,
    UnexpectedTaskState,
    Verdict,
    VifPlugTimeout,
)
from nova_lite.failures import Failure
from nova_lite.model.states import BUILDING_TASKS, TaskState, VmState
from nova_lite.notifications import versioned
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import HERE_OR_NOWHERE, Operation
from nova_lite.operations.notified import END, ERROR, START
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services.ahead import look_ahead
from nova_lite.services.notes import BuildNotes
from nova_lite.services.ownership import Place, place
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.disk.files import FetchImages, MakeConfigDrive, MakeDisks
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.domain import DefineGuest, StartGuest
from nova_lite.steps.network.ports import (
    AllocatePorts,
    NameGroups,
    PlugInterfaces,
    RecordPorts,
    WaitForPorts,
)
from nova_lite.steps.records.capacity import ClaimResources
from nova_lite.steps.records.server import (
    NOWHERE,
    RecordDisks,
    ReportActive,
    TakeServer,
    is_active_here,
    reload_wanted,
)
from nova_lite.steps.volume.boot import (
    AttachVolumes,
    CompleteAttachments,
    CreateVolumes,
    delete_unrecorded,
    release_after_failure,
    reserve_for_next_host,
)
from nova_lite.wire.objects import WireObject, unwrap

LOG = logging.getLogger(__name__)

# Failures that say nothing about this host.
NOT_COUNTED = (GroupPolicyViolation.nova_name, UnexpectedTaskState.nova_name)
# Failures of the network of which stock says no more than that.
NO_NETWORK = (
    AutoAllocationFailed.nova_name,
    FixedIpInvalidOnHost.nova_name,
    VifPlugTimeout.nova_name,
)
# Task states of a server that is being built, and was not asked to be deleted.
BUILD_TASKS = (None, *BUILDING_TASKS)
# Secrets of the request that the record has, too.
REREAD = {"user_data"}


class Boot(Operation):
    event = "compute__do_build_and_run_instance"
    places = HERE_OR_NOWHERE
    requires = {
        "image": dict,
        "request_spec": object,
        "filter_properties": dict,
        "requested_networks": WireObject | None,
        "security_groups": object,
        "block_device_mapping": WireObject,
        "host_list": object,
    }
    notifies = "create"
    notifies_mappings = True
    notifies_fields = ("keypairs", "tags", "trusted_certs")
    pool = "builds"
    # connection_info may contain secrets; it is reloaded from the database.
    secrets = ("block_device_mapping",)
    after_restart = dict.fromkeys(BUILDING_TASKS, AfterRestart(Settlement.FAIL))

    def load(self) -> None:
        # From here on no event of this server is lost, however early Neutron sends it.
        self.tools.events.watch(self.work.uuid)
        if self.work.resumed:
            reload_wanted(self.work)
        else:
            look_ahead(self.work)

    def notifications(self, phase: str) -> list[str]:
        """A failed boot is ``create.error`` alone, as in stock."""
        return ["create.error"] if phase == ERROR else super().notifications(phase)

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        more: Mapping[str, Any] = {}
        if phase == START:
            more = {"image_name": (self.work.arguments.get("image") or {}).get("name")}
        elif phase == END:
            more = {"message": "Success"}
        return Detail("InstanceCreate", versioned.creation(subject), more, addresses=phase == END)

    def plan(self) -> Plan:
        work = self.work
        if work.rebooted and self.succeeded():
            return []  # it is a server like any other whose host was off
        return [
            (ClaimResources(work),),
            (TakeServer(work),),
            (FetchImages(work), AllocatePorts(work), CreateVolumes(work)),
            (
                RecordDisks(work),
                RecordPorts(work),
                NameGroups(work),
                MakeDisks(work),
                PlugInterfaces(work),
                AttachVolumes(work),
            ),
            (DefineGuest(work),),
            # They tell the guest where its tagged devices are.
            (MakeConfigDrive(work), DescribeDevices(work)),
            (StartGuest(work),),
            (WaitForPorts(work), CompleteAttachments(work)),
            (ReportActive(work, built=True),),
            NoWayBack("its record says that it is active here", self.succeeded),
        ]

    def succeeded(self) -> bool:
        """What users see as active is not taken from them, whatever went wrong here."""
        return is_active_here(self.work)

    def failed(self, failure: Failure) -> None:
        self.tools.events.forget(self.work.uuid)
        try:
            if failure.nova_name == UnexpectedTaskState.nova_name and not self._is_left_here():
                LOG.warning("Server %s is not waiting to be built: %s", self.work.uuid,
                            failure.message)  # fmt: skip
            elif failure.nova_name == UnexpectedTaskState.nova_name:
                self._abort(failure)
            elif failure.verdict == Verdict.GONE:
                delete_unrecorded(self.work)
                self._drop_allocation()
            elif failure.verdict == Verdict.RESCHEDULE and self._may_go_on_elsewhere():
                self._reschedule(failure)
            else:
                self._abort(failure)
        except ControlPlaneUnavailable:
            raise
        except UnexpectedTaskState as error:
            LOG.warning("Server %s is somebody else's by now: %s", self.work.uuid, error)
        except NovaLiteError as error:
            # The server is gone by now: nothing of it is left here.
            LOG.info("Boot of server %s ended without a report: %s", self.work.uuid, error)
            delete_unrecorded(self.work)
            self._drop_allocation()
        if failure.verdict == Verdict.RESCHEDULE and failure.nova_name not in NOT_COUNTED:
            self.tools.claims.build_ended(failed=True)
        self.tools.usage_changed()

    def _is_left_here(self) -> bool:
        """Whether the record of a server that was not in the expected state leads to this host:
        nobody else would say what became of it."""
        self.work.reload()
        instance = self.work.instance
        deleting = instance.get("task_state") == TaskState.DELETING
        return self.work.here and not deleting

    def _may_go_on_elsewhere(self) -> bool:
        """Not without what the request had: the next host would build another server."""
        return self._retry() is not None and not self.work.lost - REREAD

    def _retry(self) -> dict[str, object] | None:
        """The retry record of the request; without one the build must not be rescheduled."""
        retry = self.work.arguments["filter_properties"].get("retry")
        return dict(retry) if retry else None

    def _reschedule(self, failure: Failure) -> None:
        """Cast the build back to the conductor, once: a second cast would build the server on two
        hosts."""
        work = self.work
        if BuildNotes.of(work.notes).handed_over:
            return
        if not BuildNotes.of(work.notes).handing_over:
            reserve_for_next_host(work)
            self._leave_host()
            work.note(handing_over=True)
            self._cast(failure)
        elif not self._taken_over():
            self._cast(failure)
        work.note(handed_over=True)
        LOG.warning("Server %s goes to the next host: %s", work.uuid, failure.message)

    def _taken_over(self) -> bool:
        """Whether the conductor or the next host has done something with the server."""
        clock, pace = self.tools.clock, self.tools.pace
        deadline = clock.monotonic() + pace.handover_patience
        while True:
            self.work.reload()
            instance = self.work.instance
            if (
                instance.get("task_state") != TaskState.SCHEDULING
                or place(instance, self.tools.host) is not Place.ARRIVING
                or instance.get("availability_zone")
            ):
                return True
            if clock.monotonic() >= deadline:
                return False
            clock.sleep(pace.handover_poll)

    def _leave_host(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=BUILD_TASKS,
            task_state=TaskState.SCHEDULING,
            **NOWHERE,
        )
        self._drop_allocation()

    def _cast(self, failure: Failure) -> None:
        work = self.work
        filter_properties = {**self.work.arguments["filter_properties"]}
        filter_properties["retry"] = {
            **(self._retry() or {}),
            "exc": failure.trace.splitlines(keepends=True) + [failure.message],
            "exc_reason": failure.message,
        }
        self.tools.builds.reschedule(
            work.context,
            work.instance,
            {key: unwrap(value) for key, value in work.arguments.items()},
            filter_properties,
            work.arguments["host_list"] or [],
        )

    def _abort(self, failure: Failure) -> None:
        work, tools = self.work, self.tools
        release_after_failure(work)
        # As in stock, whatever the reason: nova-api shows others' details to everybody.
        told = replace(failure, code=500, message=self._told(failure))
        self.tell(told)
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[*BUILD_TASKS, work.instance.get("task_state")],
            vm_state=VmState.ERROR,
            task_state=None,
            **NOWHERE,
        )
        self._drop_allocation()

    def _told(self, failure: Failure) -> str:
        """The fault of an aborted build, in the words of stock, by which scripts know it."""
        reason = failure.message
        if failure.verdict != Verdict.ABORT or failure.nova_name == BuildAborted.nova_name:
            return reason
        if failure.nova_name in NO_NETWORK:
            reason = f"Failed to allocate the network(s), not rescheduling. {reason}"
        elif failure.nova_name == NoMoreFixedIps.nova_name:
            reason = f"Failed to allocate the network(s) with error {reason}, not rescheduling."
        return f"Build of instance {self.work.uuid} aborted: {reason}"

    def _drop_allocation(self) -> None:
        self.tools.placement.delete_allocations(self.work.uuid)
