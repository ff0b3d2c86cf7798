"""Disks of a domain and the controllers they hang on."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.model.domain import DiskSpec, DomainSpec

# libvirt's source attribute for each type of source.
_SOURCES = {"file": "file", "block": "dev", "dir": "dir", "volume": "volume"}


def add_scsi_controller(devices: ET.Element, spec: DomainSpec) -> None:
    """Name the model of the SCSI controller; without one, libvirt adds its usual one if needed."""
    if spec.scsi_model:
        add(devices, "controller", type="scsi", index=0, model=spec.scsi_model)


def add_disk(devices: ET.Element, disk: DiskSpec) -> None:
    """``<disk>`` of one DiskSpec."""
    element = add(devices, "disk", type=disk.source_type, device=disk.kind)
    add(
        element,
        "driver",
        name="qemu",
        type=disk.format,
        cache=disk.cache,
        discard=disk.discard,
        io=disk.io,
    )
    if disk.alias:
        # libvirt keeps aliases of others than itself only under this prefix.
        add(element, "alias", name=f"ua-{disk.alias.removeprefix('ua-')}")
    source = add(element, "source")
    source.set(_SOURCES.get(disk.source_type, "file"), disk.source)
    add(element, "target", dev=disk.target, bus=disk.bus)
    if disk.serial and disk.kind != "lun":
        add(element, "serial", disk.serial)
    if disk.iotune:
        iotune = add(element, "iotune")
        for name, value in sorted(disk.iotune.items()):
            add(iotune, name, value)
    if disk.readonly:
        add(element, "readonly")
    if disk.boot_order:
        add(element, "boot", order=disk.boot_order)
    if disk.unit is not None:
        add(element, "address", type="drive", controller=0, unit=disk.unit)
