"""The defaults that a server got on its first boot, to be kept for all later ones.

They go into the server's system metadata as ``image_<property>``, where stock Nova keeps the same
seven, so that a changed default of the host or a switch of agents changes no guest's hardware.
"""

from __future__ import annotations

from nova_lite.guest import consoles, devices
from nova_lite.guest.disks import DiskPlan
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.server import Server


def registered_details(
    server: Server, plan: DiskPlan, machine: Machine, policy: HostPolicy
) -> dict[str, str]:
    """system_metadata entries for those of the properties that the image does not set."""
    properties = Properties(server)
    pointer = consoles.pointer(properties, policy)
    chosen = {
        "hw_machine_type": machine.machine,
        "hw_disk_bus": plan.disk_bus,
        "hw_cdrom_bus": plan.cdrom_bus,
        "hw_input_bus": pointer.bus if pointer else None,
        # The image property knows tablets only by this name.
        "hw_pointer_model": "usbtablet" if pointer else None,
        "hw_video_model": devices.video_model(properties, machine),
        "hw_vif_model": devices.nic_model(server, policy),
    }
    return {
        f"image_{name}": value
        for name, value in chosen.items()
        if value is not None and properties.raw(name) is None
    }
