"""What cannot move stays as it is, and its user is told which host refused what."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from nova_lite.engine.queues import Pool
from nova_lite.errors import DiskError, RemoteHostRefused
from nova_lite.inventory.claims import Claims
from nova_lite.wire.objects import WireObject, unwrap
from tests.unit.inventory.test_claims import HOST
from tests.unit.operations.host import IMAGE
from tests.unit.operations.test_resize import as_before, at
from tests.unit.operations.two_hosts import TwoHosts


@pytest.fixture(autouse=True)
def short_idle(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)


@pytest.fixture
def hosts(tmp_path):
    return TwoHosts(tmp_path, volume=True)


def stays(hosts, *words):
    """It was not even powered off; nobody was asked to go on."""
    as_before(hosts, words[0])
    fault = hosts.faults()[0]
    assert [word for word in words if word not in fault] == []
    assert hosts.cinder() == [("attached", "host1")]
    assert ("power_off", hosts.server) not in hosts.source.hypervisor.calls
    assert not [method for _, method, _ in hosts.peers.sent if method == "finish_resize"]


def test_an_image_of_another_architecture(hosts):
    """Its host may have been able to emulate that."""
    kept = hosts.row("system_metadata")
    hosts.set(system_metadata={**kept, "image_hw_architecture": "s390x"})

    hosts.run(hosts.dest, "prep_resize", **hosts.prep(properties={}))

    stays(hosts, "host2", "s390x")


def topology(**cell):
    """An InstanceNUMATopology that is to be placed."""
    made = WireObject.new(
        "InstanceNUMACell", "1.6", id=0, cpuset=[0, 1], pcpuset=[], cpuset_reserved=None,
        memory=32, pagesize=None, cpu_pinning_raw=None, cpu_policy=None, cpu_thread_policy=None,
        cpu_topology=None,
    )  # fmt: skip
    made.data.update(cell)
    return WireObject.new("InstanceNUMATopology", "1.3", cells=[made])


@pytest.mark.parametrize(
    "cell",
    [
        {"cpuset": [], "pcpuset": list(range(5)), "cpu_policy": "dedicated"},
        {"pagesize": 1048576},
        {"memory": 10**9},
    ],
    ids=["pinned", "pages", "memory"],
)
def test_a_flavor_that_does_not_fit_the_nodes_of_the_host(monkeypatch, hosts, cell):
    """The last of the hosts that could be asked, which has one node with four CPUs."""
    monkeypatch.setattr("nova_lite.composition.Claims", lambda: Claims(HOST))
    spec = WireObject.new("RequestSpec", "1.15", numa_topology=topology(**cell))

    hosts.run(hosts.dest, "prep_resize",
              **{**hosts.prep(properties={}), "request_spec": unwrap(spec)})  # fmt: skip

    stays(hosts, "(host host2)", "Insufficient compute resources")


def test_a_flavor_that_fits_the_nodes_of_the_host(monkeypatch, hosts):
    """The same with one CPU less."""
    monkeypatch.setattr("nova_lite.composition.Claims", lambda: Claims(HOST))
    cell = {"cpuset": [], "pcpuset": list(range(4)), "cpu_policy": "dedicated"}
    spec = WireObject.new("RequestSpec", "1.15", numa_topology=topology(**cell))

    hosts.run(hosts.dest, "prep_resize", **{**hosts.prep(), "request_spec": unwrap(spec)})

    assert hosts.faults() == []
    assert hosts.asked("resize_instance")


@pytest.mark.parametrize("kind", ["vdi", "ploop"])
def test_a_disk_of_unknown_format(hosts, kind):
    """As the record of formats says: nobody looks into a disk, which its guest writes."""
    where = hosts.instances(hosts.source) / hosts.server
    record = json.loads((where / "disk.info").read_text())
    (where / "disk.info").write_text(json.dumps({**record, str(where / "disk"): kind}))

    hosts.move(until="finish_resize")

    stays(hosts, "host1", kind, "disk")


def test_a_disk_that_is_missing(hosts):
    """It cannot be sent; the guest has it open, and goes on."""
    (hosts.instances(hosts.source) / hosts.server / "disk").unlink()

    hosts.move(until="finish_resize")

    assert hosts.state() == ("host1", "active", None)
    assert hosts.migration()["status"] == "error"
    assert "is not on host host1" in hosts.faults()[0]
    assert hosts.guest(hosts.source) == "RUNNING"


def test_an_image_that_is_gone_and_whose_copy_is_gone(hosts):
    """Nobody has what the disk is based on."""
    hosts.source.images.delete(None, IMAGE)
    (base,) = (hosts.instances(hosts.source) / "_base").iterdir()
    base.unlink()

    hosts.move(until="finish_resize")

    as_before(hosts, "host1")
    assert base.name in hosts.faults()[0]


def test_an_image_that_is_gone_and_cannot_be_copied(hosts):
    """The other host does not take it."""
    hosts.source.images.delete(None, IMAGE)
    hosts.remote.fail["send"] = RemoteHostRefused("Host host1 cannot write base on host host2")

    hosts.move(until="finish_resize")

    as_before(hosts, "on host host2")


def test_an_image_that_is_gone_once_the_disks_have_come(hosts):
    """A stock host sends no base. The server is in ERROR here, and the other host keeps its disks,
    for a revert would need them."""
    hosts.move(until="finish_resize")
    there = hosts.instances(hosts.dest)
    (base,) = (hosts.instances(hosts.source) / "_base").iterdir()
    run = ["qemu-img", "rebase", "-u", "-F", "raw", "-b", str(there / "_base" / base.name)]
    subprocess.run([*run, there / hosts.server / "disk"], check=True)
    shutil.rmtree(there / "_base", ignore_errors=True)
    hosts.source.images.delete(None, IMAGE)
    hosts.remote.fail["fetch"] = DiskError("Host host2 cannot read it on host host1")

    hosts.deliver(hosts.asked("finish_resize"))

    assert hosts.state() == ("host2", "error", None)
    assert hosts.migration()["status"] == "error"
    assert "on host host1" in hosts.faults()[0]
    assert hosts.files(hosts.source) == at("server_resize")
    assert hosts.guest(hosts.dest) is None
