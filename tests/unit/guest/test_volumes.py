"""Volumes as disks of a guest."""

import pytest

from nova_lite import errors
from nova_lite.guest.disks import PlannedDisk, disk_specs
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.server import BlockDevice
from nova_lite.model.volume import ConnectedVolume, Connection, NetworkSource, VolumeSource
from tests.fakes.servers import a_plan, a_server

VOLUME = "8c7a40c1-88f9-4314-ab58-6448eb8cdb00"
DISK = PlannedDisk(None, "/dev/vdb", "virtio", volume_id=VOLUME)
RBD = VolumeSource("volumes/v1", "network", network=NetworkSource("rbd", (("10.0.0.1", "6789"),)))


def a_volume(multiattach=False, **data):
    """A connected volume on Ceph."""
    return ConnectedVolume(Connection("rbd", VOLUME, data, multiattach), RBD)


def a_policy(**options):
    """Options of the host as they usually are, but for these."""
    return HostPolicy(**options)


def test_the_serial_is_the_volumes_id():
    """It is how guests and a detach find the right disk."""
    spec = volume_spec(DISK, a_volume(), a_policy())

    assert (spec.serial, spec.alias, spec.target) == (VOLUME, VOLUME, "vdb")
    assert (spec.source, spec.source_type) == ("volumes/v1", "network")
    assert spec.network.protocol == "rbd"
    assert (spec.cache, spec.readonly, spec.shareable, spec.discard) == ("none", False, False, None)


def test_access_mode_discard_limits_and_block_sizes_are_cinders():
    """What Cinder says of the volume reaches the disk; numbers may come as text."""
    volume = a_volume(
        access_mode="ro",
        discard=True,
        qos_specs={"total_iops_sec": "500", "read_bytes_sec_max": 9, "consumer_hint": "x"},
        logical_block_size="4096",
        physical_block_size=4096,
    )
    spec = volume_spec(DISK, volume, a_policy())

    assert (spec.readonly, spec.discard) == (True, "unmap")
    assert spec.iotune == {"total_iops_sec": 500, "read_bytes_sec_max": 9}
    assert (spec.logical_block_size, spec.physical_block_size) == (4096, 4096)


def test_a_shared_disk_is_never_cached():
    """Two guests would not see each other's writes."""
    policy = a_policy(disk_cachemodes={"network": "writeback"})

    assert volume_spec(DISK, a_volume(), policy).cache == "writeback"
    shared = volume_spec(DISK, a_volume(multiattach=True), policy)
    assert (shared.cache, shared.shareable) == ("none", True)


def test_a_limit_that_is_no_number_is_named():
    """Cinder takes any text as a limit."""
    with pytest.raises(errors.InvalidVolume, match="total_iops_sec of volume 8c7a.*'many'"):
        volume_spec(DISK, a_volume(qos_specs={"total_iops_sec": "many"}), a_policy())


def specs_of(server, devices, volumes):
    """The disks of a guest with these block devices."""
    plan = a_plan(server, devices)
    sources = {disk.name: VolumeSource(f"/d/{disk.name}") for disk in plan.local}
    return disk_specs(plan, sources, volumes, Properties(server), a_policy())


def test_a_root_volume_has_the_first_place_on_the_scsi_controller():
    """As stock numbers them, so that the guest finds its disks where they were."""
    server = a_server({"hw_scsi_model": "virtio-scsi", "hw_disk_bus": "scsi"})
    devices = (
        BlockDevice("b0", "volume", "volume", boot_index=0, volume_id=VOLUME, disk_bus="scsi"),
        BlockDevice("b1", "blank", "local", guest_format="swap", size_gb=64),
    )
    specs = specs_of(server, devices, {VOLUME: a_volume()})

    assert {spec.source: spec.unit for spec in specs} == {"volumes/v1": 0, "/d/disk.swap": 1}


def test_a_volume_that_is_not_connected_is_named():
    """A guest must not start without one of its disks."""
    device = BlockDevice("b0", "volume", "volume", boot_index=0, volume_id=VOLUME)
    with pytest.raises(errors.InvalidVolume, match=f"volume {VOLUME} is to be /dev/vda"):
        specs_of(a_server(), (device,), {})


@pytest.mark.parametrize(
    ("source", "possible"),
    [
        (RBD, False),
        (VolumeSource("/mnt/volume-1", "file"), False),
        (VolumeSource("/dev/sdx", "block"), True),
        (VolumeSource("iqn.x/1", "network", network=NetworkSource("iscsi")), True),
    ],
    ids=["ceph", "a file", "a device", "iscsi"],
)
def test_only_what_takes_scsi_commands_can_be_a_lun(source, possible):
    """The reason is the request: no other host could do it either."""
    disk = PlannedDisk(None, "/dev/sda", "scsi", "lun", volume_id=VOLUME)
    volume = ConnectedVolume(Connection("x", VOLUME, {}, False), source)

    if possible:
        assert volume_spec(disk, volume, a_policy()).kind == "lun"
        return
    with pytest.raises(errors.InvalidBlockDevice, match="lun.*takes no SCSI commands") as refused:
        volume_spec(disk, volume, a_policy())
    assert (refused.value.expected, refused.value.verdict) == (True, errors.Verdict.ABORT)
