"""The disks of a guest that runs a rescue system, in the two ways that Nova knows.

Usually the rescue system's disk is the root and the server's own root disk is the second one. An
image with ``hw_rescue_device`` or ``hw_rescue_bus`` asks for the other way: every disk of the
server keeps its name, and the rescue disk comes last but is booted first ("stable device rescue").
"""

from __future__ import annotations

from dataclasses import replace

from nova_lite.guest import naming
from nova_lite.guest.disks import DiskPlan, PlannedDisk
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import DomainSpec
from nova_lite.model.server import Image, Server

SUFFIX = ".rescue"
DISK = "disk" + SUFFIX
CONFIG_DRIVE = "disk.config" + SUFFIX


def keeps_names(image: Image) -> bool:
    """Whether the server's own disks are to keep their names while it runs ``image``."""
    return any(name in image.properties for name in ("hw_rescue_device", "hw_rescue_bus"))


def plan_as_root(
    server: Server, machine: Machine, policy: HostPolicy, *, config_drive: bool
) -> DiskPlan:
    """The rescue disk, then the server's root disk, then a config drive of its own.

    :param server: the server with the rescue image in the place of its own
    """
    properties = Properties(server)
    disk_bus = naming.bus_for("disk", properties, machine)
    cdrom_bus = naming.bus_for("cdrom", properties, machine)
    wanted = [(DISK, disk_bus, "disk"), ("disk", disk_bus, "disk")]
    if config_drive:
        iso = policy.config_drive_format == "iso9660"
        wanted.append((CONFIG_DRIVE, *((cdrom_bus, "cdrom") if iso else (disk_bus, "disk"))))
    disks: list[PlannedDisk] = []
    for name, bus, kind in wanted:
        disks.append(_place(name, bus, kind, disks, policy))
    disks[0] = replace(disks[0], boot_index=0)
    return DiskPlan(tuple(disks), disk_bus, cdrom_bus, root_device_name=disks[0].device_name)


def plan_as_last(
    plan: DiskPlan, server: Server, image: Image, machine: Machine, policy: HostPolicy
) -> DiskPlan:
    """All disks of ``plan`` as they are, and the rescue disk.

    :param image: the rescue image; says kind and bus of its disk
    :raises InvalidGuestConfig: it says something that is no kind or no bus
    """
    properties = Properties(replace(server, image=image))
    kind = properties.image("hw_rescue_device") or "disk"
    bus = properties.image("hw_rescue_bus") or naming.bus_for(kind, properties, machine)
    return replace(plan, disks=(*plan.disks, _place(DISK, bus, kind, plan.disks, policy)))


def booted_from_rescue(spec: DomainSpec, *, first: bool) -> DomainSpec:
    """``spec`` with the kernel and ramdisk of the rescue system.

    :param first: boot the rescue disk though it is not the first one
    """
    names = ("/" + DISK, "_" + DISK)  # of a file, or of an image in a pool
    disks = tuple(
        replace(disk, boot_order=1) if first and disk.source.endswith(names) else disk
        for disk in spec.disks
    )
    kernel, initrd = (path and path + SUFFIX for path in (spec.kernel, spec.initrd))
    return replace(spec, disks=disks, kernel=kernel, initrd=initrd)


def _place(
    name: str,
    bus: str,
    kind: str,
    others: list[PlannedDisk] | tuple[PlannedDisk, ...],
    policy: HostPolicy,
) -> PlannedDisk:
    target = naming.next_name(
        bus,
        {disk.target for disk in others},
        prefix=policy.disk_prefix,
        limit=policy.max_disks,
    )
    return PlannedDisk(name, f"/dev/{target}", bus, kind)
