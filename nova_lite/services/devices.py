"""device_metadata: the tags by which a guest finds its disks, interfaces and shares."""

from __future__ import annotations

from dataclasses import replace

from nova_lite.configdrive.data import Device
from nova_lite.model.network import Vif
from nova_lite.services import guest, shares
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

BUSES = {
    "pci": "PCIDeviceBus",
    "scsi": "SCSIDeviceBus",
    "ide": "IDEDeviceBus",
    "usb": "USBDeviceBus",
}


def _told_shares(work: Work) -> dict[str, str]:
    """Ids and tags of the shares that device_metadata has now."""
    metadata = work.instance.get("device_metadata")
    devices = metadata["devices"] if metadata is not None else []
    told = (device for device in devices if device.name == "ShareMetadata")
    return {device["share_id"]: device["tag"] for device in told}


def described(work: Work) -> tuple[Device, ...]:
    """The devices with a tag or a VLAN, where the hypervisor put them, and the shares.

    :raises DomainNotFound: the guest is not defined yet
    """
    tags = disk_tags(work)
    nics = {vif.mac: vif for vif in guest.vifs(work)}
    nic_tags = guest.nic_tags(work)
    found = [
        Device("share", share_id=mapping["share_id"], share_tag=mapping["tag"])
        for mapping in shares.mappings(work)
    ]
    if not tags and not nic_tags and not any(_vlan(vif) for vif in nics.values()):
        return tuple(found)
    for device in work.tools.hypervisor.devices(work.uuid):
        place = Device(device.kind, device.bus, device.address or "none")
        if device.kind == "disk" and device.name in tags:
            disk_tag, serial = tags[device.name]
            found.append(replace(place, tags=(disk_tag,), serial=serial))
        elif device.kind == "nic" and (vif := nics.get(device.name)) is not None:
            tag, vlan = nic_tags.get(vif.mac), _vlan(vif)
            if tag or vlan:
                nic = replace(place, mac=vif.mac, vlan=vlan, trusted=vif.trusted)
                found.append(replace(nic, tags=(tag,) if tag else ()))
    return tuple(found)


def disk_tags(work: Work) -> dict[str, tuple[str, str | None]]:
    """Disk target -> (tag, volume id) of the tagged block devices."""
    plan = guest.disk_plan(work)
    return {disk.target: (disk.tag, disk.volume_id) for disk in plan.disks if disk.tag}


def record(devices: tuple[Device, ...]) -> WireObject:
    """The devices as an InstanceDeviceMetadata object."""
    return _new("InstanceDeviceMetadata", devices=[_entry(device) for device in devices])


def _entry(device: Device) -> WireObject:
    if device.kind == "share":
        return _new("ShareMetadata", share_id=device.share_id, tag=device.share_tag)
    common: dict[str, object] = {"tags": list(device.tags)} if device.tags else {}
    if device.bus in BUSES:
        place = {} if device.address == "none" else {"address": device.address}
        common["bus"] = _new(BUSES[device.bus], **place)
    if device.kind == "disk":
        return _new("DiskMetadata", serial=device.serial, **common)
    vlan = {} if device.vlan is None else {"vlan": device.vlan}
    return _new(
        "NetworkInterfaceMetadata", mac=device.mac, vf_trusted=device.trusted, **vlan, **common
    )


def _vlan(vif: Vif) -> int | None:
    vlan = vif.details.get("vlan")
    return int(vlan) if vlan else None


def _new(name: str, /, **fields: object) -> WireObject:
    return WireObject.new(name, VERSIONS[name], **fields)
