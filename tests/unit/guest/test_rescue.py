"""The disks of a rescued server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.errors import InvalidGuestConfig
from nova_lite.guest import rescue
from nova_lite.guest.machine import plan_machine
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import DiskSpec
from nova_lite.model.server import Image
from tests.fakes.servers import CAPABILITIES, FACTS, QEMU, a_guest, a_plan, a_server


def board(server):
    return plan_machine(Properties(server), QEMU, FACTS, CAPABILITIES)


def layout(plan):
    return [(disk.name, disk.target, disk.bus) for disk in plan.disks]


def test_the_rescue_disk_is_the_root_disk():
    """The server's own root disk is the second one; the rescue system has its own config drive."""
    server = a_server(image={"hw_disk_bus": "scsi"})

    plan = rescue.plan_as_root(server, board(server), QEMU, config_drive=True)

    assert layout(plan) == [
        ("disk.rescue", "sda", "scsi"),
        ("disk", "sdb", "scsi"),
        ("disk.config.rescue", "hda", "ide"),
    ]
    assert plan.root_device_name == "/dev/sda"
    assert plan.boot_devices == ("hd",)


@pytest.mark.parametrize(
    ("properties", "placed"),
    [
        ({"hw_rescue_bus": "usb"}, ("disk.rescue", "sda", "usb")),
        ({"hw_rescue_device": "disk"}, ("disk.rescue", "vdb", "virtio")),
        ({"hw_rescue_device": "cdrom"}, ("disk.rescue", "hda", "ide")),
    ],
)
def test_the_disks_keep_their_names(properties, placed):
    """The rescue disk comes last, on the bus that its image asks for or that is usual here."""
    server, image = a_server(), Image("rescue", properties=properties)
    own = a_plan(server)

    plan = rescue.plan_as_last(own, server, image, board(server), QEMU)

    assert rescue.keeps_names(image)
    assert layout(plan) == [*layout(own), placed]


def test_an_image_without_a_wish_takes_the_first_place():
    """So do all images that know nothing of rescues."""
    assert not rescue.keeps_names(Image("rescue", properties={"hw_disk_bus": "virtio"}))


def test_a_bus_that_does_not_exist_is_named():
    """The property and what is allowed."""
    server, image = a_server(), Image("rescue", properties={"hw_rescue_bus": "tram"})

    with pytest.raises(InvalidGuestConfig, match="hw_rescue_bus"):
        rescue.plan_as_last(a_plan(server), server, image, board(server), QEMU)


def test_the_rescue_system_is_booted():
    """Its disk is the first of the boot order, its kernel and ramdisk are its own files."""
    spec = replace(
        a_guest(a_server()),
        kernel="/i/s/kernel",
        initrd=None,
        disks=(DiskSpec("vda", "virtio", "/i/s/disk"), DiskSpec("vdb", "virtio", "/i/disk.rescue")),
    )

    booted = rescue.booted_from_rescue(spec, first=True)

    assert (booted.kernel, booted.initrd) == ("/i/s/kernel.rescue", None)
    assert [disk.boot_order for disk in booted.disks] == [None, 1]
    again = rescue.booted_from_rescue(spec, first=False)
    assert [disk.boot_order for disk in again.disks] == [None, None]
