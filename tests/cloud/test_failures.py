"""Boots that cannot succeed: a clear fault, or another host."""

import hashlib
import subprocess

import pytest

from tests.cloud.support.devcloud import CloudError, wait_for

pytestmark = pytest.mark.cloud


def make(path, size, *more):
    subprocess.run(["qemu-img", "create", "-q", *more, str(path), *size], check=True)
    return path


@pytest.fixture
def upload(api, garbage):
    def upload_one(path, disk_format, **properties):
        image = api.upload_image(path, disk_format, **properties)
        garbage.later(lambda: api.delete_image(image))
        return image

    return upload_one


def failed_boot(api, node, garbage, image):
    """Boot from an image that cannot work; returns the server in ERROR."""
    server = api.request_boot(node, image=image, networks="none")["id"]
    garbage.server(server)
    found = api.wait_status(server, ("ERROR", "ACTIVE"), 120)
    assert found["status"] == "ERROR"
    assert found["OS-EXT-STS:task_state"] is None
    event = api.wait_event(server, "create", "compute__do_build_and_run_instance")
    assert event["result"] == "Error"
    wait_for("no allocation", lambda: not api.allocations(server), 30)
    return found


@pytest.mark.core
def test_an_image_larger_than_the_disk(api, node, garbage, upload, tmp_path):
    """The fault names the two sizes or says that the disk is too small."""
    image = upload(make(tmp_path / "big.qcow2", ["3G"], "-f", "qcow2"), "qcow2")
    fault = failed_boot(api, node, garbage, image)["fault"]
    assert "too small" in fault["message"] or "larger" in fault["message"], fault


@pytest.mark.alone
def test_users_see_no_inside_of_the_agent(demo, garbage, upload, tmp_path):
    """nova-api keeps the details of a fault from them only where its code is 500."""
    path = make(tmp_path / "big.qcow2", ["3G"], "-f", "qcow2")
    image = upload(path, "qcow2", visibility="public")
    server = demo.request_boot(image=image, networks="none")["id"]
    garbage.server(server)

    fault = demo.wait_status(server, ("ERROR", "ACTIVE"), 120)["fault"]

    assert fault["code"] == 500
    assert "details" not in fault, fault


@pytest.fixture
def plant(cloud, upload):
    """Put an image into Glance that Glance itself, which looks at uploads, would not take."""

    def plant_one(path, disk_format):
        image = upload(make(path.with_suffix(".innocent"), ["1M"], "-f", "raw"), "raw")
        data = path.read_bytes()
        (cloud.state / "data" / "glance" / "images" / image).write_bytes(data)
        cloud.sql(
            f"update images set disk_format='{disk_format}', size={len(data)},"
            f" checksum='{hashlib.md5(data).hexdigest()}',"
            f" os_hash_value='{hashlib.sha512(data).hexdigest()}' where id='{image}'",
            "glance",
        )
        return image

    return plant_one


def test_a_raw_file_that_calls_itself_qcow2(api, node, garbage, plant, tmp_path):
    """An image whose content is not what it says is never handed to QEMU."""
    image = plant(make(tmp_path / "liar.raw", ["4M"], "-f", "raw"), "qcow2")
    fault = failed_boot(api, node, garbage, image)["fault"]
    assert image in fault["message"], fault


def test_a_qcow2_with_a_backing_file(api, node, garbage, plant, tmp_path):
    """An image that would show a file of the host to its guest is refused."""
    path = make(tmp_path / "thief.qcow2", ["64M"], "-u", "-f", "qcow2", "-F", "raw",
                "-b", "/etc/passwd")  # fmt: skip
    image = plant(path, "qcow2")
    fault = failed_boot(api, node, garbage, image)["fault"]
    assert image in fault["message"], fault


def test_a_raw_image_that_is_a_qcow2(api, node, garbage, plant, tmp_path):
    """A raw image whose content QEMU would take for qcow2 is refused, too."""
    path = make(tmp_path / "wolf.raw", ["64M"], "-u", "-f", "qcow2", "-F", "raw",
                "-b", "/etc/passwd")  # fmt: skip
    image = plant(path, "raw")
    fault = failed_boot(api, node, garbage, image)["fault"]
    assert image in fault["message"], fault


def test_an_image_that_vanished(api, node, garbage, upload, tmp_path):
    """The image's data are gone from Glance's store: ERROR, and the fault says so."""
    image = upload(make(tmp_path / "gone.qcow2", ["64M"], "-f", "qcow2"), "qcow2")
    (api.cloud.state / "data" / "glance" / "images" / image).unlink()
    fault = failed_boot(api, node, garbage, image)["fault"]
    assert image in fault["message"] or "No valid host" in fault["message"], fault


@pytest.fixture
def read_only(cloud, node):
    """The host's instances directory, as after an error of its disk. Running guests go on."""
    path = "/var/lib/nova/instances"
    cloud.on(node, "mount", "--bind", path, path)
    cloud.on(node, "mount", "-o", "remount,bind,ro", path)
    yield
    cloud.on(node, "umount", path)


@pytest.fixture
def preferred(cloud, api, node, boot, garbage):
    """Scheduler hints that make the scheduler prefer the host under test, without forcing it."""
    body = {"server_group": {"name": "nlt", "policy": "soft-anti-affinity"}}
    group = api.call("POST", "/os-server-groups", body)["server_group"]["id"]
    garbage.later(lambda: api.call("DELETE", f"/os-server-groups/{group}"))
    hints = {"group": group}
    boot(node=cloud.other_node(node), hints=hints)
    body = {"aggregate": {"name": "nlt-preferred", "availability_zone": None}}
    aggregate = api.call("POST", "/os-aggregates", body)["aggregate"]["id"]
    path = f"/os-aggregates/{aggregate}"
    garbage.later(lambda: api.call("DELETE", path, ok=False))
    api.call("POST", f"{path}/action", {"add_host": {"host": node}})
    garbage.later(lambda: api.call("POST", f"{path}/action", {"remove_host": {"host": node}}))
    metadata = {
        "soft_anti_affinity_weight_multiplier": "1000",
        "build_failure_weight_multiplier": "0",
    }
    api.call("POST", f"{path}/action", {"set_metadata": {"metadata": metadata}})
    return hints


@pytest.mark.core
@pytest.mark.alone  # another host is chosen among all
def test_a_broken_host_hands_on(cloud, api, node, garbage, preferred, read_only):
    """A host whose disk fails gives the server to the next one, where it becomes ACTIVE."""
    requested = api.request_boot(None, hints=preferred)["id"]
    garbage.server(requested)
    other = api.wait_status(requested, "ACTIVE", 180)["OS-EXT-SRV-ATTR:host"]
    assert other != node
    api.wait_event(requested, "create", "compute__do_build_and_run_instance")
    events = [event for event in api.events(requested, "create")
              if event["event"] == "compute__do_build_and_run_instance"]  # fmt: skip
    assert node in {event["host"] for event in events}, "the broken host was never asked"
    (port,) = api.ports(requested)
    assert port["binding:host_id"] == other
    assert list(api.allocations(requested)) == [cloud.provider(other)]


def test_a_broken_host_without_a_next_one(api, node, garbage, read_only):
    """Forced onto the broken host, the server ends in ERROR with a fault, not half made."""
    server = api.request_boot(node)["id"]
    garbage.server(server)
    with pytest.raises(CloudError, match="ERROR"):
        api.wait_status(server, "ACTIVE", 120)
    assert api.server(server)["fault"]["message"]
    wait_for("no allocation", lambda: not api.allocations(server), 30)
