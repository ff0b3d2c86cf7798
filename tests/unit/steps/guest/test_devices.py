"""Tagged devices: what the guest and the metadata service are told of them."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nova_lite.model.host import GuestDevice
from nova_lite.model.network import Network, Vif
from nova_lite.services import guest
from nova_lite.steps.guest import devices
from nova_lite.wire.objects import WireObject, unwrap, wrap

NIC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
PLACED = [
    GuestDevice("disk", "vda", "pci", "0000:00:05.0"),
    GuestDevice("disk", "vdb", "pci", "0000:00:06.0"),
    GuestDevice("nic", NIC, "pci", "0000:00:03.0"),
    GuestDevice("nic", OTHER, "pci", "0000:00:04.0"),
]


class World:
    """A server's work and its tools; what is saved is remembered."""

    def __init__(self, monkeypatch, *, disk_tag=None, nic_tags=None, vlan=None):
        disks = [SimpleNamespace(target="vda", tag=disk_tag, volume_id=None)]
        network = Network("n1")
        vifs = [
            Vif("p1", NIC, network, "ovs"),
            Vif("p2", OTHER, network, "hw_veb", details={"vlan": vlan} if vlan else {}),
        ]
        monkeypatch.setattr(guest, "disk_plan", lambda work: SimpleNamespace(disks=disks))
        monkeypatch.setattr(guest, "vifs", lambda work: vifs)
        self.saved, self.asked = [], 0
        self.tools = SimpleNamespace(hypervisor=self, instances=self)
        self.uuid, self.context = "s1", None
        self.notes = {} if nic_tags is None else {"nic_tags": nic_tags}
        self.instance = WireObject.new("Instance", "2.8", uuid="s1")
        self.shares, self.reading = [], threading.RLock()

    def devices(self, uuid):
        self.asked += 1
        return PLACED

    def save(self, context, instance, **fields):
        self.saved.append(fields)


def test_nothing_is_asked_or_saved_without_tags(monkeypatch):
    """Most servers have none."""
    world = World(monkeypatch, nic_tags={})

    devices.DescribeDevices(world).do()

    assert (world.asked, world.saved) == (0, [])


def test_tagged_devices_are_saved_with_their_places(monkeypatch):
    """The objects that the metadata service reads; a device without tag or VLAN is not there."""
    world = World(monkeypatch, disk_tag="boot", nic_tags={NIC: "front"}, vlan="7")

    devices.DescribeDevices(world).do()

    record = world.saved[0]["device_metadata"]
    disk, nic, vlan = wrap(record.data["devices"])
    assert (disk.name, disk["tags"], disk["serial"]) == ("DiskMetadata", ["boot"], None)
    assert (disk["bus"].name, disk["bus"]["address"]) == ("PCIDeviceBus", "0000:00:05.0")
    assert (nic["mac"], nic["tags"], "vlan" in nic) == (NIC, ["front"], False)
    assert (vlan["mac"], vlan["vlan"], "tags" in vlan) == (OTHER, 7, False)


def test_what_the_record_says_already_is_not_saved(monkeypatch):
    """A reboot leaves most devices where they were."""
    world = World(monkeypatch, disk_tag="boot", nic_tags={NIC: "front"}, vlan="7")
    devices.DescribeDevices(world).do()
    record = json.loads(json.dumps(unwrap(world.saved[0]["device_metadata"])))
    record.pop("nova_object.changes")  # as it comes from the database
    world.instance.set(device_metadata=WireObject(record))

    devices.DescribeDevices(world).do()
    assert len(world.saved) == 1

    monkeypatch.setattr(world, "devices", lambda uuid: [replace(PLACED[0], address="0000:00:09.0")])
    devices.DescribeDevices(world).do()
    (disk,) = wrap(world.saved[1]["device_metadata"].data["devices"])
    assert disk["bus"]["address"] == "0000:00:09.0"


def test_a_server_without_tags_any_more_has_no_record(monkeypatch):
    """Nothing is left of the devices of the image before."""
    world = World(monkeypatch, nic_tags={})
    world.instance.set(device_metadata=WireObject.new("InstanceDeviceMetadata", "1.0", devices=[]))

    devices.DescribeDevices(world).do()

    assert world.saved == [{"device_metadata": None}]


@pytest.mark.parametrize("noted", [True, False])
def test_tags_of_ports_come_from_the_request_or_the_records(monkeypatch, noted):
    """A rebuild's request names no networks: what was saved before still holds."""
    world = World(monkeypatch, nic_tags={NIC: "front"} if noted else None)
    if not noted:
        first = World(monkeypatch, nic_tags={NIC: "front"})
        devices.DescribeDevices(first).do()
        world.instance.set(**first.saved[0])

    assert guest.nic_tags(world) == {NIC: "front"}
