"""Disk layout: names, buses, sizes and what the records are told."""

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.guest import naming
from nova_lite.model.server import BlockDevice
from tests.fakes.servers import QEMU, a_guest, a_plan, a_server

GIB = 1024**3
ROOT = BlockDevice("b-root", "image", "local", boot_index=0)


def names(plan):
    """File name -> device name and bus."""
    return {disk.name: (disk.device_name, disk.bus) for disk in plan.disks}


def test_root_ephemeral_swap_and_config_drive_in_nova_order():
    """Disks are named in Nova's order, the config drive on the CD-ROM's bus."""
    bdms = (
        BlockDevice("b-eph", "blank", "local", guest_format="ext4", size_gb=2),
        ROOT,
        BlockDevice("b-swap", "blank", "local", guest_format="swap", size_gb=512),
    )
    plan = a_plan(a_server(config_drive=True), bdms)

    assert names(plan) == {
        "disk": ("/dev/vda", "virtio"),
        "disk.eph0": ("/dev/vdb", "virtio"),
        "disk.swap": ("/dev/vdc", "virtio"),
        "disk.config": ("/dev/hda", "ide"),
    }
    assert plan.get("disk").size_bytes == GIB
    assert (plan.get("disk.eph0").size_bytes, plan.get("disk.eph0").fs) == (2 * GIB, "ext4")
    assert plan.get("disk.eph0").label == "ephemeral0"
    assert (plan.get("disk.swap").size_bytes, plan.get("disk.swap").fs) == (512 * 1024**2, "swap")
    assert plan.root_device_name == "/dev/vda"
    assert plan.default_swap_device == "/dev/vdc"
    assert plan.default_ephemeral_device is None
    assert plan.boot_devices == ("hd",)


def test_bdm_updates_say_what_was_chosen():
    """Every entry gets device name, bus and type, so that the API shows them."""
    plan = a_plan(a_server(), (ROOT,))

    assert plan.bdm_updates == {
        "b-root": {"device_name": "/dev/vda", "disk_bus": "virtio", "device_type": "disk"}
    }


def test_planning_again_from_the_saved_records_changes_nothing():
    """Names once saved are kept, even when other disks come first now."""
    server = a_server(flavor={"swap_mb": 64})
    bdms = (ROOT, BlockDevice("b-eph", "blank", "local", size_gb=1))
    first = a_plan(server, bdms)
    saved = tuple(replace(bdm, **first.bdm_updates[bdm.uuid]) for bdm in bdms)

    again = a_plan(replace(server, root_device_name=first.root_device_name), saved[::-1])

    assert names(again) == names(first)


def test_flavor_disks_without_entries():
    """A flavor's ephemeral and swap disk exist without block device entries too."""
    plan = a_plan(a_server(flavor={"ephemeral_gb": 1, "swap_mb": 64}))

    assert list(names(plan)) == ["disk", "disk.local", "disk.swap"]
    assert plan.default_ephemeral_device == "/dev/vdb"
    assert plan.default_swap_device == "/dev/vdc"


@pytest.mark.parametrize(
    ("os_type", "configured", "expected"),
    [
        (None, None, "vfat"),
        ("linux", None, "ext4"),
        ("windows", None, "ntfs"),
        (None, "xfs", "xfs"),
    ],
)
def test_file_system_of_an_ephemeral_disk(os_type, configured, expected):
    """It follows default_ephemeral_format, else the guest's operating system."""
    server = a_server({"os_type": os_type} if os_type else {}, flavor={"ephemeral_gb": 1})

    plan = a_plan(server, policy=replace(QEMU, ephemeral_fs=configured))

    assert plan.get("disk.local").fs == expected


def test_names_chosen_by_users_are_not_given_away():
    """An automatic name avoids those that entries ask for."""
    bdms = (ROOT, BlockDevice("b", "blank", "local", size_gb=1, device_name="/dev/vda"))

    assert names(a_plan(a_server(), bdms)) == {
        "disk": ("/dev/vdb", "virtio"),
        "disk.eph0": ("/dev/vda", "virtio"),
    }


def test_the_same_name_twice_is_refused():
    """Two disks cannot have one name."""
    bdms = (
        replace(ROOT, device_name="/dev/vdb"),
        BlockDevice("b", "blank", "local", size_gb=1, device_name="/dev/vdb"),
    )
    with pytest.raises(errors.InvalidBlockDevice, match="/dev/vdb"):
        a_plan(a_server(), bdms)


def test_an_entry_without_a_possible_bus_takes_the_one_of_its_name():
    """A bus of another hypervisor gives way to what the device name says."""
    bdm = BlockDevice("b", "blank", "local", size_gb=1, device_name="/dev/sdc", disk_bus="xen")

    assert names(a_plan(a_server(), (ROOT, bdm)))["disk.eph0"] == ("/dev/sdc", "scsi")


def test_boot_from_volume_has_no_root_file():
    """The root disk of a volume-backed server is the volume."""
    volume = BlockDevice("b", "volume", "volume", boot_index=0, volume_id="v1", size_gb=3)

    plan = a_plan(a_server(), (volume,))

    assert plan.local == ()
    assert (plan.root_device_name, plan.disks[0].volume_id) == ("/dev/vda", "v1")


@pytest.mark.parametrize("wishes", [{}, {"disk_bus": "virtio", "device_type": "disk"}])
def test_a_volume_made_of_an_iso_image_boots_from_the_cdrom(wishes):
    """As a local root does, and as in nova 34, whatever else its user wishes for."""
    server = a_server(image={"hw_cdrom_bus": "sata"})
    server = replace(server, image=replace(server.image, id=None, disk_format="iso"))
    volume = BlockDevice("b", "image", "volume", boot_index=0, volume_id="v1", **wishes)

    plan = a_plan(server, (volume,))

    assert (plan.disks[0].kind, plan.disks[0].bus) == ("cdrom", "sata")
    assert plan.boot_devices == ("cdrom",)
    assert plan.root_device_name == "/dev/sda"
    assert plan.bdm_updates["b"]["device_type"] == "cdrom"


def test_a_guest_keeps_the_disk_that_it_has_had_of_an_iso_image():
    """An older agent has made it: another device under the same name would fit nowhere."""
    server = a_server(config_drive=True)
    server = replace(server, image=replace(server.image, id=None, disk_format="iso"))
    volume = BlockDevice("b", "image", "volume", 0, "/dev/vda", "virtio", "disk", volume_id="v1")

    plan = a_plan(server, (volume,))

    assert [(disk.device_name, disk.bus, disk.kind) for disk in plan.disks] == [
        ("/dev/vda", "virtio", "disk"),
        ("/dev/hda", "ide", "cdrom"),
    ]


def test_the_bus_that_the_image_wants_is_that_of_a_root_volume_with_a_name():
    """A name that the user gave says nothing then, for the root disk alone."""
    server = a_server(image={"hw_disk_bus": "scsi"})
    server = replace(server, image=replace(server.image, id=None))
    root = BlockDevice("b", "volume", "volume", 0, "/dev/vda", volume_id="v1")
    other = BlockDevice("c", "volume", "volume", None, "/dev/vdb", volume_id="v2")

    plan = a_plan(server, (root, other))

    assert [(disk.device_name, disk.bus) for disk in plan.disks] == [
        ("/dev/vda", "scsi"),
        ("/dev/vdb", "virtio"),
    ]


def test_iso_image_boots_from_the_cdrom():
    """An ISO is attached as a CD-ROM on its bus and booted from."""
    server = a_server({"hw_machine_type": "q35"})
    server = replace(server, image=replace(server.image, disk_format="iso"))

    plan = a_plan(server, (ROOT,))

    assert names(plan) == {"disk": ("/dev/sda", "sata")}
    assert plan.boot_devices == ("cdrom",)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, ("virtio", "ide")),
        ({"hw_machine_type": "pc-q35-7.2"}, ("virtio", "sata")),
        ({"hw_disk_bus": "scsi", "hw_cdrom_bus": "scsi"}, ("scsi", "scsi")),
        ({"vmware_adaptertype": "ide"}, ("ide", "ide")),
    ],
)
def test_buses_follow_image_and_machine(properties, expected):
    """q35 has no IDE; the image's wish comes first."""
    plan = a_plan(a_server(properties))

    assert (plan.disk_bus, plan.cdrom_bus) == expected


def test_vfat_config_drive_is_a_disk():
    """config_drive_format=vfat gives a hard disk instead of a CD-ROM."""
    plan = a_plan(a_server(config_drive=True), policy=replace(QEMU, config_drive_format="vfat"))

    assert plan.get("disk.config").kind == "disk"
    assert plan.get("disk.config").device_name == "/dev/vdb"


def test_ide_has_four_places():
    """The fifth IDE disk is refused with the remedy."""
    bdms = (ROOT, *(BlockDevice(f"b{n}", "blank", "local", size_gb=1) for n in range(4)))
    with pytest.raises(errors.InvalidBlockDevice, match="at most 4 disks.*hw_disk_bus"):
        a_plan(a_server({"hw_disk_bus": "ide"}), bdms)


def test_disk_letters_go_on_after_z():
    """The 27th disk is vdaa, as Linux counts."""
    assert [naming.suffix(n) for n in (0, 25, 26, 27, 702)] == ["a", "z", "aa", "ab", "aaa"]


@pytest.mark.parametrize(
    ("bdms", "words"),
    [
        ((ROOT, replace(ROOT, uuid="x")), "only one"),
        ((BlockDevice("b", "blank", "local"),), "no size"),
        (
            (BlockDevice("b", "blank", "local", guest_format="swap", size_gb=1),) * 2,
            "more than one",
        ),
    ],
)
def test_impossible_entries(bdms, words):
    """Entries that cannot be honoured are refused by name of the problem."""
    with pytest.raises(errors.InvalidBlockDevice, match=words):
        a_plan(a_server(), bdms)


def test_quotas_cache_and_discard_reach_every_disk():
    """quota:disk_* limits all disks under libvirt's names."""
    server = a_server(specs={"quota:disk_read_bytes_sec": "1000", "quota:disk_total_iops_sec": "0"})
    policy = replace(
        QEMU, direct_io=False, disk_discard="unmap", disk_cachemodes={"file": "unsafe"}
    )

    disk = a_guest(server, policy=policy).disks[0]

    assert disk.iotune == {"read_bytes_sec": 1000}
    assert (disk.cache, disk.discard) == ("unsafe", "unmap")


def test_file_systems_without_direct_io_write_through():
    """Where O_DIRECT is impossible the cache must not be 'none'."""
    assert a_guest(a_server(), policy=replace(QEMU, direct_io=False)).disks[0].cache == (
        "writethrough"
    )


def test_virtio_scsi_disks_are_numbered():
    """Each disk gets a unit, so that more than seven fit on the controller."""
    image = {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}
    spec = a_guest(a_server(image, flavor={"swap_mb": 64}))

    assert spec.scsi_model == "virtio-scsi"
    assert [(disk.target, disk.unit) for disk in spec.disks] == [("sda", 0), ("sdb", 1)]


def test_a_root_volume_comes_first_whatever_its_place_in_the_request():
    """The guest boots from it under the first name, and other disks follow in Nova's order."""
    bdms = (
        BlockDevice("b-data", "volume", "volume", volume_id="v-data", boot_index=None),
        BlockDevice("b-eph", "blank", "local", size_gb=1),
        BlockDevice("b-root", "image", "volume", volume_id="v-root", boot_index=0),
    )
    plan = a_plan(a_server(image={"id": None}), bdms)

    assert [(disk.bdm_uuid, disk.target) for disk in plan.disks] == [
        ("b-root", "vda"), ("b-eph", "vdb"), ("b-data", "vdc"),
    ]  # fmt: skip
    assert plan.root_device_name == "/dev/vda"


def test_a_root_volume_is_called_as_the_server_says():
    """The name that the image wishes for is its root disk's, on whatever that is; its bus is the
    image's, as in nova-compute."""
    root = BlockDevice("b-root", "image", "volume", volume_id="v-root", boot_index=0)
    plan = a_plan(replace(a_server(), root_device_name="/dev/sda"), (root,))

    assert (plan.disks[0].target, plan.disks[0].bus) == ("sda", "virtio")
