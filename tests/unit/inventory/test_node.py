from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.inventory import node
from nova_lite.inventory.disk import DiskSpace
from nova_lite.inventory.node import ServerState, Used
from nova_lite.model.host import HostFacts

CONF = SimpleNamespace(
    host="node2",
    my_ip="10.77.0.12",
    reserved_host_cpus=0,
    reserved_host_memory_mb=512,
    reserved_host_disk_mb=1025,
    cpu_allocation_ratio=None,
    ram_allocation_ratio=4.0,
    disk_allocation_ratio=0.0,
    initial_cpu_allocation_ratio=32.0,
    initial_ram_allocation_ratio=1.0,
    initial_disk_allocation_ratio=1.0,
)
FACTS = HostFacts(
    hostname="node2.example",
    uuid="u",
    arch="x86_64",
    hypervisor_type="QEMU",
    hypervisor_version=7002022,
    libvirt_version=9000000,
    online_cpus=frozenset({0, 1}),
    memory_mb=14170,
    cpu={"arch": "x86_64", "model": "kvm64", "features": ["sse", "avx"], "topology": {"cells": 1}},
    guests=(("x86_64", "qemu", "hvm"), ("i686", "qemu", "hvm")),
)
SERVERS = (
    ServerState("building", "block_device_mapping", None, "p1"),
    ServerState("active", None, "linux", "p2"),
    ServerState("active", "image_snapshot", None, "p2"),
)


def fields(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "cpus": 2,
        "space": DiskSpace(251, 100, 73),
        "used": Used(2, 256, 1),
        "servers": SERVERS,
        "uptime": " 04:10:45 up 1 min\n",
    }
    return node.fields(CONF, FACTS, **{**given, **changes})


def primitive(name: str, data: Any) -> dict[str, Any]:
    return {
        "nova_object.name": name,
        "nova_object.version": "1.2",
        "nova_object.namespace": "nova",
        "nova_object.data": data,
        "nova_object.changes": sorted(data),
    }


def record(**changes: Any) -> dict[str, Any]:
    """The fields as they come back from the conductor."""
    found = fields(**changes)
    found["supported_hv_specs"] = [
        primitive("HVSpec", dict(zip(("arch", "hv_type", "vm_mode"), spec, strict=True)))
        for spec in found["supported_hv_specs"]
    ]
    found["pci_device_pools"] = primitive("PciDevicePoolList", {"objects": []})
    return {**found, "id": 2, "mapped": 1}


def test_numbers_add_up() -> None:
    """Used is what servers hold plus what the host keeps; disk is kept in whole GiB."""
    found = fields()

    assert (found["vcpus"], found["vcpus_used"]) == (2, 2)
    assert (found["memory_mb_used"], found["free_ram_mb"]) == (768, 14170 - 768)
    assert (found["local_gb_used"], found["free_disk_gb"]) == (3, 248)
    assert (found["running_vms"], found["current_workload"]) == (3, 2)
    assert found["disk_available_least"] == 73
    assert found["cpu_allocation_ratio"] == 32.0
    assert found["ram_allocation_ratio"] == 4.0
    assert found["disk_allocation_ratio"] == 1.0


def test_names_are_told_apart() -> None:
    """``host`` is nova.conf's, ``hypervisor_hostname`` the machine's."""
    assert fields()["host"] == "node2"
    assert fields()["hypervisor_hostname"] == "node2.example"


def test_statistics_are_text_that_the_scheduler_reads() -> None:
    """Counted by state, task, OS and project; building and snapshots keep the disk busy."""
    assert fields(failed_builds=3)["stats"] == {
        "failed_builds": "3",
        "num_instances": "3",
        "num_vm_building": "1",
        "num_vm_active": "2",
        "num_task_block_device_mapping": "1",
        "num_task_None": "1",
        "num_task_image_snapshot": "1",
        "num_os_type_None": "2",
        "num_os_type_linux": "1",
        "num_proj_p1": "1",
        "num_proj_p2": "2",
        "io_workload": "2",
        "uptime": " 04:10:45 up 1 min\n",
    }
    assert node.stats(()) == {"failed_builds": "0", "num_instances": "0", "io_workload": "0"}


def test_every_value_can_go_on_the_wire() -> None:
    """cpu_info is JSON although the driver may give sets."""
    assert json.loads(fields()["cpu_info"])["features"] == ["sse", "avx"]
    assert json.dumps(fields())


def test_a_record_that_says_the_same_is_not_saved() -> None:
    """Objects, JSON and text are compared by meaning, so an idle host stays silent."""
    old = record()
    cpu = json.loads(old["cpu_info"])
    old["cpu_info"] = json.dumps({**cpu, "features": ["avx", "sse"]})
    old["supported_hv_specs"].reverse()
    old["stats"]["uptime"] = "another"

    assert node.changed(old, fields()) == {}
    assert node.changed(fields(), fields()) == {}


def test_only_what_changed_is_saved() -> None:
    """One more server touches its counters and nothing else."""
    found = node.changed(record(), fields(used=Used(3, 256, 1)))

    assert found == {"vcpus_used": 3}


def test_a_change_of_statistics_brings_the_uptime_along() -> None:
    """It alone is worth no save."""
    found = node.changed(record(uptime="old"), fields(servers=SERVERS[:2], uptime="new"))

    assert found["stats"]["uptime"] == "new"
    assert set(found) == {"stats", "running_vms", "current_workload"}


def test_a_new_record_gets_all() -> None:
    """Fields that the record lacks are changes, null ones too."""
    assert node.changed({}, fields()) == fields()
    assert "numa_topology" in node.changed({}, fields())


@pytest.mark.parametrize(("least", "saved"), [(72, False), (74, False), (71, True), (-5, True)])
def test_a_guest_that_writes_a_little_causes_no_save(least: int, saved: bool) -> None:
    """disk_available_least alone is saved when it moved by one hundredth of the disk."""
    found = node.changed(record(), fields(space=DiskSpace(251, 100, least)))

    assert found == ({"disk_available_least": least} if saved else {})


def test_numa_topology_is_compared_by_meaning() -> None:
    """Lists of changes and the order of keys say nothing."""
    cell = primitive("NUMACell", {"id": 0, "memory": 5})
    text = json.dumps(primitive("NUMATopology", {"cells": [cell]}))
    other = {k: v for k, v in reversed(json.loads(text).items()) if k != "nova_object.changes"}

    assert node.changed(record(numa_topology=text), fields(numa_topology=json.dumps(other))) == {}
    found = node.changed(record(numa_topology=text), fields(numa_topology=None))
    assert found == {"numa_topology": None}


def test_uptime_reads_like_uptime(tmp_path: Path) -> None:
    """Days, hours and minutes; nothing when /proc is not there."""
    (tmp_path / "loadavg").write_text("3.25 3.64 3.23 1/2 3\n")
    for seconds, expected in (("59.5", " up 0 min,"), ("6000.0", " up  1:40,"),
                              ("180060.0", " up 2 days,  2:01,")):  # fmt: skip
        (tmp_path / "uptime").write_text(f"{seconds} 1.0\n")
        assert expected in node.read_uptime(str(tmp_path))

    assert node.read_uptime(str(tmp_path)).endswith("load average: 3.25, 3.64, 3.23\n")
    assert node.read_uptime(str(tmp_path / "none")) == ""
