"""What an unshelved server is made of: its own image, in its definition and below its disk."""

from __future__ import annotations

import pytest

from nova_lite.drivers.disk import backing, qemu_img
from tests.unit.operations.host import IMAGE, MIB, Host, build_arguments

SHELF = "55555555-2222-3333-4444-555555555555"
SHELVED = b"what its user has written".ljust(MIB, b"\0")


@pytest.fixture
def host(tmp_path):
    """An offloaded server, and its snapshot."""
    made = Host(tmp_path)
    made.images.add(SHELF, SHELVED)
    made.set(
        vm_state="shelved_offloaded",
        task_state="unshelving",
        system_metadata={
            "shelved_image_id": SHELF, "image_base_image_ref": IMAGE, "image_disk_format": "raw",
            "image_hw_disk_bus": "scsi",
        },
    )  # fmt: skip
    return made


def unshelve(host):
    image = {**build_arguments()["image"], "id": SHELF, "name": "s1-shelved"}
    host.run("unshelve_instance", image=image, filter_properties={}, node=None)
    assert host.look()["guest"] == "RUNNING", host.conductor.read().get("InstanceFault")


def content(disk, target):
    qemu_img.convert(disk, target, "qcow2", "raw")
    return target.read_bytes()[: len(SHELVED)]


def test_the_guest_names_the_image_of_its_server(host):
    """The snapshot is deleted; properties are those that every later start uses."""
    unshelve(host)

    spec = host.hypervisor.guests[host.server].spec
    assert spec.metadata["image"]["uuid"] == IMAGE
    assert spec.metadata["root"] == {"type": "image", "uuid": IMAGE}
    assert spec.disks[0].bus == "scsi"


def test_its_disk_is_based_on_that_image_again(host, tmp_path):
    """A lost base can be fetched again, and another host fetches the right one."""
    unshelve(host)

    disk = host.state / "instances" / host.server / "disk"
    base = backing.backing_file(disk)
    assert base is not None
    assert base == host.agent().tools.images.path(IMAGE)
    assert content(disk, tmp_path / "raw") == SHELVED


@pytest.mark.parametrize("cached", [True, False])
def test_without_that_image_its_disk_stands_alone(host, tmp_path, cached):
    """Deleted from the image service: an image that is still in the cache does, too."""
    if cached:
        agent = host.agent()
        agent.tools.images.precache(None, IMAGE)
    for path in host.images.directory.glob(f"{IMAGE}*"):
        path.unlink()

    unshelve(host)

    disk = host.state / "instances" / host.server / "disk"
    assert (backing.backing_file(disk) is None) is not cached
    assert content(disk, tmp_path / "raw") == SHELVED
