"""start_instance: redefine the guest from the server's records, and start it.

A SHELVED server that is still on its host is unshelved this way: its ports and volumes may be
unbound and reserved already, after a failed offload, and its snapshot is deleted. Resume rule:
forward.
"""

from __future__ import annotations

from typing import ClassVar

from nova_lite.model.states import SHELVED_IMAGE, TaskState, VmState
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services.notes import ShelveNotes
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.backing import RestoreBacking
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices, to_activate
from nova_lite.steps.guest.domain import CheckGuest, DefineGuest, StartGuest
from nova_lite.steps.network.binding import BindPorts
from nova_lite.steps.network.ports import PlugInterfaces, RefreshPorts
from nova_lite.steps.network.replug import (
    PlugAgain,
    UnplugAwaited,
    WaitForWiring,
    waits_for_wiring,
)
from nova_lite.steps.records.server import ReportPower, unshelved
from nova_lite.steps.records.shelving import DeleteShelvedImage
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import CheckVolumes


class Start(PowerOperation):
    """``task_state`` is the one that the API has set."""

    event = "compute_start_instance"
    notifies = "power_on"
    task_state: ClassVar[TaskState] = TaskState.POWERING_ON
    after_restart = {TaskState.POWERING_ON: AfterRestart(Settlement.REDO)}

    def load(self) -> None:
        super().load()
        image = self.work.instance.get("system_metadata", {}).get(SHELVED_IMAGE)
        if image:
            self.work.note(shelved_image=image)

    def plan(self) -> Plan:
        work = self.work
        image = ShelveNotes.of(work.notes).shelved_image
        check: Plan = [(CheckGuest(work),)]
        replug = waits_for_wiring(work)
        plug = PlugAgain if replug else PlugInterfaces
        start: Plan = [
            (UnplugAwaited(work),) if replug else (),
            (plug(work), RestoreBacking(work), CheckVolumes(work), *to_mount(work)),
            (DefineGuest(work),),
            (RestoreConfigDrive(work), DescribeDevices(work)),
            (StartGuest(work, pause_for_ports=replug),),
            (WaitForWiring(work),) if replug else (),
            to_activate(work),
        ]
        expected: list[str | None] = [self.task_state]
        if not image:
            report = ReportPower(work, VmState.ACTIVE, expected)
            return [*check, (RefreshPorts(work),), *start, (report,)]
        report = ReportPower(work, VmState.ACTIVE, expected, system_metadata=unshelved(work))
        return [*check, (BindPorts(work),), *start, (report,), (DeleteShelvedImage(work, image),)]
