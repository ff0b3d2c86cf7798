"""Disks of a domain and the controllers they hang on."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_tools import add
from nova_lite.model.domain import DiskSpec, DomainSpec
from nova_lite.model.volume import NetworkSource

# What libvirt wants before an alias that is not its own.
ALIAS_PREFIX = "ua-"
# libvirt's source attribute for each type of source.
SOURCES = {"file": "file", "block": "dev", "dir": "dir", "volume": "volume"}


def add_scsi_controller(devices: ET.Element, spec: DomainSpec) -> None:
    """Name the model of the SCSI controller; without one, libvirt adds its usual one if needed."""
    if spec.scsi_model:
        add(devices, "controller", type="scsi", index=0, model=spec.scsi_model)


def add_disk(devices: ET.Element, disk: DiskSpec) -> ET.Element:
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
        add(element, "alias", name=ALIAS_PREFIX + disk.alias.removeprefix(ALIAS_PREFIX))
    if disk.network is not None:
        _add_network_source(element, disk.source, disk.network)
    else:
        add(element, "source").set(SOURCES.get(disk.source_type, "file"), disk.source)
    add(element, "target", dev=disk.target, bus=disk.bus)
    if disk.serial and disk.kind != "lun":
        add(element, "serial", disk.serial)
    if disk.iotune:
        iotune = add(element, "iotune")
        for name, value in sorted(disk.iotune.items()):
            add(iotune, name, value)
    _add_block_sizes(element, disk)
    if disk.readonly:
        add(element, "readonly")
    if disk.shareable:
        add(element, "shareable")
    if disk.boot_order:
        add(element, "boot", order=disk.boot_order)
    if disk.unit is not None:
        add(element, "address", type="drive", controller=0, unit=disk.unit)
    if disk.secret_uuid:
        encryption = add(element, "encryption", format="luks")
        add(encryption, "secret", type="passphrase", uuid=disk.secret_uuid)
    return element


def _add_network_source(element: ET.Element, name: str, network: NetworkSource) -> None:
    source = add(element, "source", protocol=network.protocol, name=name)
    for address, port in network.hosts:
        add(source, "host", name=address, port=port)
    if network.config:
        add(source, "config", file=network.config)
    if network.secret_type:
        auth = add(element, "auth", username=network.user)
        add(auth, "secret", type=network.secret_type, uuid=network.secret_uuid)


def _add_block_sizes(element: ET.Element, disk: DiskSpec) -> None:
    """A LUN that is passed through has those of the device itself."""
    if disk.kind != "lun" and (disk.logical_block_size or disk.physical_block_size):
        add(
            element,
            "blockio",
            logical_block_size=disk.logical_block_size,
            physical_block_size=disk.physical_block_size,
        )
