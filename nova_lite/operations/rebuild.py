"""rebuild_instance on the server's own host: new disks from an image, everything else is kept.

Ports, addresses, claim and NUMA topology stay. The images are fetched and checked while the old
guest still runs. Volumes stay attached and keep their device names; the root volume keeps its data,
too, unless the user asks for it to be reimaged by Cinder.

After a power failure the password and the files for a config drive are lost: the rebuild fails,
before the old disks are removed if it was not that far.

Resume rule: forward. A rebuild that fails ends in ERROR. Before the old disks are removed, disks
and records are unchanged; afterwards the server can only be rebuilt again or deleted. A stopped
server stays stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import PreserveEphemeralUnsupported, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import REBUILDING_TASKS, PowerState, VmState
from nova_lite.operations.base import Operation
from nova_lite.operations.evacuate import Evacuate
from nova_lite.operations.rebuild_request import RebuildRequest
from nova_lite.services import guest
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.interfaces import remember_taps
from nova_lite.services.work import Work
from nova_lite.steps.base import NoWayBack, Plan
from nova_lite.steps.disk.files import MakeConfigDrive, MakeDisks, RemoveDisks
from nova_lite.steps.guest.devices import DescribeDevices
from nova_lite.steps.guest.domain import DefineGuest, PowerOff, RemoveGuest, StartGuest
from nova_lite.steps.guest.rebuild import (
    FetchNewImages,
    MarkRebuilding,
    ReplugInterfaces,
    ReportRebuilt,
)
from nova_lite.steps.network.ports import RefreshPorts, RequireSwitch
from nova_lite.steps.volume.moves import (
    CheckVolumes,
    ReimageRootVolume,
    ReserveRootVolume,
    boots_from_volume,
)

EMPTIED = NoWayBack("the server's disks are given up")


class Rebuild(RebuildRequest):
    @classmethod
    def variant(cls, arguments: Mapping[str, Any]) -> type[Operation]:
        """A server of a host that failed comes to this one by the same method."""
        return Evacuate if arguments.get("recreate") else cls

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        # As the API sent it; the records change while this goes on.
        self._stopped = work.instance.get("vm_state") == VmState.STOPPED

    def load(self) -> None:
        self._refuse()
        super().load()
        remember_taps(self.work)
        self.take_mappings()
        if not self.past_return and guest.has_config_drive(self.work):
            self.work.require("new_pass", "injected_files")
        if self.work.arguments.get("reimage_boot_volume"):
            guest.mappings(self.work)  # here the conductor is waited for; the plan needs them

    def _refuse(self) -> None:
        if self.work.arguments.get("preserve_ephemeral"):
            raise PreserveEphemeralUnsupported(
                "Ephemeral disks of this host cannot be preserved: rebuild the server without "
                "preserve_ephemeral"
            )
        refuse_certificates(self.work)

    def plan(self) -> Plan:
        work = self.work
        rebuilding, mapping, spawning = REBUILDING_TASKS
        if work.rebooted and self._is_over():
            return []  # its new disks are its user's already
        return [
            (FetchNewImages(work), RefreshPorts(work)),
            (RequireSwitch(work),),
            (MarkRebuilding(work, rebuilding, rebuilding),),
            (PowerOff(work, gracefully=True),),
            *(self._reimaging() if self._reimages() else [(RemoveGuest(work),)]),
            (MarkRebuilding(work, rebuilding, mapping),),
            *(() if self._reimages() else (EMPTIED,)),
            (RemoveDisks(work),),
            (CheckVolumes(work),),
            (MarkRebuilding(work, mapping, spawning),),
            (MakeDisks(work), ReplugInterfaces(work)),
            (DefineGuest(work),),
            (MakeConfigDrive(work), DescribeDevices(work)),
            () if self._stopped else (StartGuest(work, pause_for_ports=False),),
            (ReportRebuilt(work, VmState.STOPPED if self._stopped else VmState.ACTIVE),),
        ]

    def _is_over(self) -> bool:
        instance = self.work.instance
        rebuilt = instance.get("vm_state") in (VmState.ACTIVE, VmState.STOPPED)
        return self.past_return and rebuilt and instance.get("task_state") is None

    def _reimages(self) -> bool:
        # The API asks for it also where there is no volume to write to.
        return bool(self.work.arguments.get("reimage_boot_volume")) and boots_from_volume(self.work)

    def _reimaging(self) -> Plan:
        work = self.work
        return [
            (RemoveGuest(work),),
            (ReserveRootVolume(work),),
            EMPTIED,
            (ReimageRootVolume(work, str(work.arguments["image_ref"])),),
        ]

    def failed(self, failure: Failure) -> None:
        if failure.verdict == Verdict.GONE:
            return
        if not self.past_return:
            self.work.instance.set(**self._image_before())
        super().failed(failure)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState:
        return VmState.ERROR

    def _image_before(self) -> dict[str, Any]:
        """The image fields before the rebuild: nova-api has changed them already."""
        arguments = self.work.arguments
        system_metadata = dict(arguments.get("orig_sys_metadata") or {})
        if not system_metadata:
            return {}
        return {
            "image_ref": arguments.get("orig_image_ref") or "",
            "system_metadata": system_metadata,
            "kernel_id": system_metadata.get("image_kernel_id") or "",
            "ramdisk_id": system_metadata.get("image_ramdisk_id") or "",
        }
