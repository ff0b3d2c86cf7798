"""What a server may be asked for, from which state, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

import libvirt

from tests.fakes.ledger_ports import FIRST_ADDRESS
from tests.functional.messages import (
    ATTACHMENT,
    NEW_ATTACHMENT,
    NEW_VOLUME,
    RESCUE,
    RESCUE_BESIDE,
    SNAPSHOT,
    VOLUME,
    attach_arguments,
    build_arguments,
    rebuild_arguments,
    rescue_arguments,
    share_arguments,
    shelve_arguments,
    unshelve_arguments,
    volume_arguments,
)

BOOT = "build_and_run_instance"
BDMS = {"bdms": build_arguments()["block_device_mapping"]}
HARD = {"reboot_type": "HARD", "block_device_info": None}
SOFT = {"reboot_type": "SOFT", "block_device_info": None}


IMAGED = {"image_id": SNAPSHOT}
SWAPPED = {
    "old_volume_id": VOLUME, "new_volume_id": NEW_VOLUME, "new_attachment_id": NEW_ATTACHMENT,
}  # fmt: skip
DETACHED = {"volume_id": VOLUME, "attachment_id": ATTACHMENT}
BACKUP = {"image_id": SNAPSHOT, "backup_type": "daily", "rotation": 2}

# What is left of a server that is gone; its images stay in the cache.
GONE = {
    "domain": None, "files": [], "ports": [], "records": 0, "taps": 0, "allocations": None,
    "journal": [], "casts": [],
}  # fmt: skip


@dataclass
class Scenario:
    """A server in ``start`` with ``task_state`` gets ``method`` and ends in ``vm_state``.

    ``volume`` says whether one is ``reserved`` for it (``encrypted``: one with LUKS), or
    ``attached`` and about to be detached (``encrypted, attached``: one whose key libvirt has
    forgotten); ``grown``: one that it uses is larger than it knows, ``moving``: it is to go on
    elsewhere; ``disks``: all its disks are to be volumes. ``share``: whether the server is to have
    one, has it, uses it, or is to lose it. ``dark``: other ends, after a power failure: the
    memory of a guest may be lost with it.
    """

    method: str
    arguments: dict[str, Any]
    vm_state: str
    domain: int | None
    start: str = "new"
    task_state: str | None = "scheduling"
    polite: bool = False
    serial: bool = False
    volume: str | None = None
    share: str | None = None
    how: dict[str, Any] = field(default_factory=dict)
    dark: tuple[dict[str, Any], ...] = ()

    @property
    def encrypted(self) -> bool:
        return (self.volume or "").startswith("encrypted")


ON_NETWORK = {"network_id": "net-1", "port_id": None, "requested_ip": None, "tag": None}
ITS_PORT = {**ON_NETWORK, "network_id": None, "port_id": "free port"}
LAST_PORT = {"port_id": "its last port"}
NOT_RUNNING = "Instance server is not running."
# The memory of a guest was lost that was to be held, saved, or to go on.
NO_MEMORY = {
    "vm_state": "stopped", "power_state": 4, "domain": libvirt.VIR_DOMAIN_SHUTOFF, "saved": False,
    "faults": ANY, "events": ANY, "system_metadata": ANY,
}  # fmt: skip
# The guest was off, not held, when it was asked for its network card.
DETACHED_IN_THE_DARK = {
    **NO_MEMORY, "ports": ["server"], "bound": ["host1"], "records": 1, "addresses": [1],
    "devices": ANY, "taps": ANY,
}  # fmt: skip
# The guest was off when the copy of its disk was to go on: it keeps the volume that it has.
NOT_SWAPPED = {
    "faults": {f"Volume rebase failed: {NOT_RUNNING}"}, "events": ANY,
    "volumes": {
        "cinder": [("in-use", "attached")], "attachments": ["attached"],
        "mapped": [("/dev/sda", True)], "sizes": [1], "places": [(VOLUME, True)] * 2, "secrets": 0,
        "connected": 1, "disks": [[VOLUME]] * 2,
    },
}  # fmt: skip
# The password for the config drive was lost with the power.
NOT_BUILT = {
    "vm_state": "error", "task_state": None, "host": None, "node": None, "ports": [], "bound": [],
    "records": 0, "domain": None, "devices": [], "allocations": None, "casts": [],
    **dict.fromkeys(
        ("power_state", "availability_zone", "config_drive", "root_device_name", "addresses",
         "system_metadata", "files", "faults", "events", "volumes", "shares", "taps"),
        ANY,
    ),
}  # fmt: skip
# The server is the next host's by now, which has an event of the same name.
BEGUN = {("compute__do_build_and_run_instance", "start", None)}
# Events of a guest that is started again after a power failure.
RESTARTED = [("compute_reboot_instance", phase, None) for phase in ("start", "finish")]
# What all know of a share when the request was carried out.
NO_SHARE = {"let in": [], "mapped": [], "mounted": 0}
SHARES = {
    "allow_share": {"let in": ["active"], "mapped": ["inactive"], "mounted": 0, "tags": [[], []]},
    "deny_share": {**NO_SHARE, "tags": [[], []]},
    "start_instance": {
        "let in": ["active"], "mapped": ["active"], "mounted": 1, "tags": [["docs"], ["docs"]]
    },
    "terminate_instance": {**NO_SHARE, "tags": []},
}  # fmt: skip
RUNS, OFF = libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_SHUTOFF
HELD = libvirt.VIR_DOMAIN_PAUSED
FAIL = {"fail_start": True}
BACK = {**unshelve_arguments(), "image": None}
SCENARIOS = {
    "boot": Scenario(BOOT, build_arguments(), "active", RUNS, serial=True),
    "boot, password": Scenario(
        BOOT, build_arguments(password="secret"), "active", RUNS, dark=(NOT_BUILT,)
    ),
    "boot, host fails": Scenario(
        BOOT, build_arguments(), "building", None, how=FAIL, dark=({"events": BEGUN},)
    ),
    "boot, fails, no retry": Scenario(BOOT, build_arguments(retry=False), "error", None, how=FAIL),
    "delete": Scenario("terminate_instance", BDMS, "deleted", None, "booted", "deleting"),
    "stop": Scenario(
        "stop_instance", {"clean_shutdown": True}, "stopped", OFF, "booted", "powering-off", True
    ),
    "stop, deaf guest": Scenario(
        "stop_instance", {"clean_shutdown": True}, "stopped", OFF, "booted", "powering-off"
    ),
    "start": Scenario("start_instance", {}, "active", RUNS, "stopped", "powering-on", serial=True),
    "reboot hard": Scenario("reboot_instance", HARD, "active", RUNS, "booted", "rebooting_hard"),
    "reboot soft": Scenario("reboot_instance", SOFT, "active", RUNS, "booted", "rebooting", True),
    "reboot soft, deaf guest": Scenario(
        "reboot_instance", SOFT, "active", RUNS, "booted", "rebooting"
    ),
    "pause": Scenario(
        "pause_instance", {}, "paused", HELD, "booted", "pausing", dark=(NO_MEMORY,)
    ),
    "unpause": Scenario(
        "unpause_instance", {}, "active", RUNS, "paused", "unpausing",
        dark=(NO_MEMORY,),
    ),
    "suspend": Scenario(
        "suspend_instance", {}, "suspended", OFF, "booted", "suspending",
        dark=(NO_MEMORY,),
    ),
    "resume": Scenario("resume_instance", {}, "active", RUNS, "suspended", "resuming"),
    "suspended, reboot hard": Scenario(
        "reboot_instance", HARD, "active", RUNS, "suspended", "rebooting_hard"
    ),
    "suspended, delete": Scenario(
        "terminate_instance", BDMS, "deleted", None, "suspended", "deleting"
    ),
    "pause, guest is off": Scenario("pause_instance", {}, "stopped", OFF, "stopped", "pausing"),
    "rescue": Scenario(
        "rescue_instance", rescue_arguments(RESCUE), "rescued", RUNS, "booted", "rescuing"
    ),
    "rescue, names kept": Scenario(
        "rescue_instance", rescue_arguments(RESCUE_BESIDE), "rescued", RUNS, "stopped", "rescuing"
    ),
    "rescue, fails": Scenario(
        "rescue_instance", rescue_arguments(RESCUE), "error", OFF, "stopped", "rescuing", how=FAIL
    ),
    "unrescue": Scenario("unrescue_instance", {}, "active", RUNS, "rescued", "unrescuing"),
    "rescued, reboot hard": Scenario(
        "reboot_instance", HARD, "rescued", RUNS, "rescued", "rebooting_hard"
    ),
    "rebuild": Scenario(
        "rebuild_instance", rebuild_arguments(), "active", RUNS, "booted, impatient", "rebuilding"
    ),
    "rebuild, stopped": Scenario(
        "rebuild_instance", rebuild_arguments(), "stopped", OFF, "stopped", "rebuilding"
    ),
    "rebuild, fails": Scenario(
        "rebuild_instance", rebuild_arguments(), "error", OFF, "booted, impatient", "rebuilding",
        how=FAIL,
    ),
    "snapshot, live": Scenario(
        "snapshot_instance", IMAGED, "active", RUNS, "booted", "image_snapshot_pending"
    ),
    "snapshot, stopped": Scenario(
        "snapshot_instance", IMAGED, "stopped", OFF, "stopped", "image_snapshot_pending"
    ),
    "snapshot, fails": Scenario(
        "snapshot_instance", IMAGED, "active", RUNS, "booted", "image_snapshot_pending",
        how={"fail_upload": True},
    ),
    "backup": Scenario(
        "backup_instance", BACKUP, "paused", HELD, "paused", "image_backup",
        dark=({**NO_MEMORY, "faults": set()},),
    ),
    "shelve": Scenario(
        "shelve_instance", shelve_arguments(), "shelved_offloaded", None, "booted", "shelving"
    ),
    "shelve, stays": Scenario(
        "shelve_instance", shelve_arguments(), "shelved", OFF, "booted and kept", "shelving"
    ),
    "shelve, fails": Scenario(
        "shelve_instance", shelve_arguments(), "stopped", OFF, "booted", "shelving",
        how={"fail_upload": True},
    ),
    "offload": Scenario(
        "shelve_offload_instance", {"clean_shutdown": False}, "shelved_offloaded", None,
        "shelved", "shelving_offloading",
    ),
    "unshelve, on its host": Scenario(
        "start_instance", {}, "active", RUNS, "shelved", "powering-on"
    ),
    "unshelve": Scenario(
        "unshelve_instance", unshelve_arguments(), "active", RUNS, "offloaded", "unshelving"
    ),
    "unshelve, fails": Scenario(
        "unshelve_instance", unshelve_arguments(), "shelved_offloaded", None, "offloaded",
        "unshelving", how=FAIL,
    ),
    "shelved, delete": Scenario("terminate_instance", BDMS, "deleted", None, "shelved", "deleting"),
    "soft delete": Scenario(
        "soft_delete_instance", {}, "soft-delete", OFF, "booted", "soft-deleting"
    ),
    "restore": Scenario("restore_instance", {}, "active", RUNS, "soft-deleted", "restoring"),
    "restore, fails": Scenario(
        "restore_instance", {}, "soft-delete", OFF, "soft-deleted", "restoring", how=FAIL
    ),
    "soft-deleted, delete": Scenario(
        "terminate_instance", BDMS, "deleted", None, "soft-deleted", "deleting"
    ),
    "port deleted": Scenario(
        "detach_deleted_port", LAST_PORT, "stopped", OFF, "stopped, port deleted", None
    ),
    "port deleted, reboot hard": Scenario(
        "reboot_instance", HARD, "active", RUNS, "booted, port deleted", "rebooting_hard"
    ),
    "port deleted, delete": Scenario(
        "terminate_instance", BDMS, "deleted", None, "booted, port deleted", "deleting"
    ),
    "attach interface": Scenario("attach_interface", ON_NETWORK, "active", RUNS, "booted", None),
    "attach interface, port, paused": Scenario(
        "attach_interface", ITS_PORT, "paused", HELD, "paused, free port", None, dark=(NO_MEMORY,)
    ),
    "attach interface, tag, stopped": Scenario(
        "attach_interface", {**ON_NETWORK, "tag": "back"}, "stopped", OFF, "stopped", None
    ),
    "attach interface, fails": Scenario(
        "attach_interface", ON_NETWORK, "active", RUNS, "booted", None, how={"fail_nic": True}
    ),
    "attach interface, port, fails": Scenario(
        "attach_interface", ITS_PORT, "active", RUNS, "booted, free port", None,
        how={"fail_nic": True},
    ),
    "detach interface": Scenario(
        "detach_interface", LAST_PORT, "active", RUNS, "booted, two interfaces", None, True
    ),
    "detach interface, port, stopped": Scenario(
        "detach_interface", LAST_PORT, "stopped", OFF, "stopped, two interfaces", None
    ),
    "detach interface, paused": Scenario(
        "detach_interface", LAST_PORT, "paused", HELD, "paused, two interfaces", None,
        dark=(DETACHED_IN_THE_DARK, NO_MEMORY),
    ),
    "detach interface, fails": Scenario(
        "detach_interface", LAST_PORT, "active", RUNS, "booted, two interfaces", None,
        how={"fail_nic": True},
    ),
    "add fixed IP": Scenario(
        "add_fixed_ip_to_instance", {"network_id": "net-1"}, "active", RUNS, "booted", None
    ),
    "remove fixed IP": Scenario(
        "remove_fixed_ip_from_instance", {"address": FIRST_ADDRESS}, "active", RUNS, "booted", None
    ),
    "attach": Scenario(
        "attach_volume", attach_arguments(), "active", RUNS, "booted", None, volume="reserved"
    ),
    "attach, stopped": Scenario(
        "attach_volume", attach_arguments(), "stopped", OFF, "stopped", None, volume="reserved"
    ),
    "attach, fails": Scenario(
        "attach_volume", attach_arguments(), "active", RUNS, "booted", None, volume="reserved",
        how={"fail_attach": True},
    ),
    "attach, encrypted": Scenario(
        "attach_volume", attach_arguments(), "active", RUNS, "booted", None, volume="encrypted"
    ),
    "detach": Scenario("detach_volume", DETACHED, "active", RUNS, "booted", None, True,
                       volume="attached"),
    "detach, stopped": Scenario(
        "detach_volume", DETACHED, "stopped", OFF, "stopped", None, volume="attached"
    ),
    "extend": Scenario(
        "extend_volumes", {"volume_ids": [VOLUME]}, "active", RUNS, "booted", None, volume="grown"
    ),
    "swap": Scenario(
        "swap_volume", SWAPPED, "active", RUNS, "booted", None, volume="moving",
        dark=(NOT_SWAPPED,),
    ),
    "swap, fails": Scenario(
        "swap_volume", SWAPPED, "active", RUNS, "booted", None, volume="moving",
        how={"fail_move": True},
    ),
    "boot, volumes": Scenario(BOOT, volume_arguments(), "active", RUNS, volume="disks"),
    "boot, volumes, host fails": Scenario(
        BOOT, volume_arguments(), "building", None, volume="disks", how=FAIL
    ),
    "boot, volumes, fails": Scenario(
        BOOT, volume_arguments(retry=False), "error", None, volume="disks", how=FAIL
    ),
    "delete, volumes": Scenario(
        "terminate_instance", {"bdms": volume_arguments()["block_device_mapping"]}, "deleted", None,
        "booted from volumes", "deleting",
    ),
    "reboot hard, encrypted": Scenario(
        "reboot_instance", HARD, "active", RUNS, "stopped", "rebooting_hard",
        volume="encrypted, attached",
    ),
    "reboot hard, volumes": Scenario(
        "reboot_instance", HARD, "active", RUNS, "booted from volumes", "rebooting_hard"
    ),
    "rebuild, volumes": Scenario(
        "rebuild_instance", {**rebuild_arguments(), "reimage_boot_volume": True}, "active", RUNS,
        "booted from volumes", "rebuilding",
    ),
    "offload, volumes": Scenario(
        "shelve_offload_instance", {"clean_shutdown": False}, "shelved_offloaded", None,
        "booted from volumes", "shelving_offloading",
    ),
    "unshelve, volumes": Scenario(
        "unshelve_instance", BACK, "active", RUNS, "offloaded with volumes", "unshelving"
    ),
    "unshelve, volumes, fails": Scenario(
        "unshelve_instance", BACK, "shelved_offloaded", None, "offloaded with volumes",
        "unshelving", how=FAIL,
    ),
    "allow share": Scenario(
        "allow_share", share_arguments("attaching"), "stopped", OFF, "stopped", None,
        share="asked for",
    ),
    "deny share": Scenario(
        "deny_share", share_arguments("detaching"), "stopped", OFF, "stopped", None,
        share="to lose",
    ),
    "start, share": Scenario(
        "start_instance", {}, "active", RUNS, "stopped", "powering-on", share="had"
    ),
    "delete, share": Scenario(
        "terminate_instance", BDMS, "deleted", None, "stopped", "deleting", share="used"
    ),
    "crash dump": Scenario("trigger_crash_dump", {}, "active", RUNS, "booted", None),
}
