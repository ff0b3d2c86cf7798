"""reboot_instance: SOFT shuts the guest down and falls back to HARD, which redefines the guest.

Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.model.states import OUTLIVES_REBOOT, PowerState, TaskState, VmState
from nova_lite.operations.notified import ERROR
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.backing import RestoreBacking
from nova_lite.steps.disk.files import RestoreConfigDrive
from nova_lite.steps.guest.devices import DescribeDevices, to_activate
from nova_lite.steps.guest.domain import (
    CheckGuest,
    DefineGuest,
    PowerOff,
    SoftPowerOff,
    StartGuest,
)
from nova_lite.steps.network.ports import PlugInterfaces, RefreshPorts, RequireSwitch
from nova_lite.steps.network.replug import (
    PlugAgain,
    UnplugAwaited,
    WaitForWiring,
    waits_for_wiring,
)
from nova_lite.steps.records.server import MarkRebooting, ReportPower
from nova_lite.steps.shares import to_mount
from nova_lite.steps.volume.moves import CheckVolumes

SOFT_STATES = (TaskState.REBOOTING, TaskState.REBOOT_PENDING, TaskState.REBOOT_STARTED)
HARD_STATES = (
    TaskState.REBOOTING_HARD,
    TaskState.REBOOT_PENDING_HARD,
    TaskState.REBOOT_STARTED_HARD,
)
# Task states of a reboot whose guest may have been powered off already.
REBOOT_STARTED = (SOFT_STATES[-1], HARD_STATES[-1])

# Arguments of a reboot that this host asks of itself.
SOFT = {"reboot_type": "SOFT", "block_device_info": None}
HARD = {"reboot_type": "HARD", "block_device_info": None}


class Reboot(PowerOperation):
    event = "compute_reboot_instance"
    requires = {"reboot_type": str}
    notifies = "reboot"
    notifies_mappings = True
    after_restart = {
        TaskState.REBOOTING: AfterRestart(Settlement.REDO, SOFT, unless_running=True),
        TaskState.REBOOT_PENDING: AfterRestart(Settlement.REDO, SOFT),
        TaskState.REBOOT_STARTED: AfterRestart(Settlement.REDO, SOFT, unless_running=True),
        TaskState.REBOOTING_HARD: AfterRestart(
            Settlement.REDO, HARD, unless_running=True, in_error=True
        ),
        TaskState.REBOOT_PENDING_HARD: AfterRestart(Settlement.REDO, HARD, in_error=True),
        TaskState.REBOOT_STARTED_HARD: AfterRestart(
            Settlement.REDO, HARD, unless_running=True, in_error=True
        ),
    }

    def plan(self) -> Plan:
        work = self.work
        soft = work.arguments["reboot_type"] == "SOFT"
        states = SOFT_STATES if soft else HARD_STATES
        after = VmState(work.instance["vm_state"])
        # A rescued server's guest is the rescue system, and stays it.
        rescued = after == VmState.RESCUED
        replug = not soft and waits_for_wiring(work)
        plug = PlugAgain if replug else PlugInterfaces
        return [
            () if rescued else (CheckGuest(work),),
            (MarkRebooting(work, states), RefreshPorts(work, keep_lost=rescued)),
            (RequireSwitch(work),),
            (SoftPowerOff(work) if soft else PowerOff(work, gracefully=False),),
            (UnplugAwaited(work),) if replug else (),
            (
                plug(work, keep_strays=rescued),
                RestoreBacking(work),
                CheckVolumes(work),
                *to_mount(work),
            ),
            () if rescued else (DefineGuest(work),),
            () if rescued else (RestoreConfigDrive(work), DescribeDevices(work)),
            (StartGuest(work, pause_for_ports=replug),),
            (WaitForWiring(work),) if replug else (),
            to_activate(work),
            (
                ReportPower(
                    work,
                    after if after in OUTLIVES_REBOOT else VmState.ACTIVE,
                    list(states),
                ),
            ),
        ]

    def notifications(self, phase: str) -> list[str]:
        """A failure that the server survives is an error of the reboot, which ends with it."""
        if phase == ERROR and self.work.instance.get("vm_state") != VmState.ERROR:
            return ["reboot.error", "reboot.end"]
        return super().notifications(phase)

    def vm_state_after_failure(self, power: PowerState | None) -> VmState | None:
        """A server whose guest still runs, or was not touched yet, keeps its vm_state; otherwise it
        goes to ERROR."""
        begun = self.work.instance.get("task_state") in REBOOT_STARTED
        return VmState.ERROR if begun and power != PowerState.RUNNING else None
