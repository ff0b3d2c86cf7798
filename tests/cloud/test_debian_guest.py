"""A genuine Debian with cloud-init: what its user asked for is there after its first boot, from a
config drive and from the metadata service, and its guest agent does what it is asked.

Needs the image ``debian``: ``devstack/cloud up --with-debian-image``. A guest takes 40 s to boot,
minutes on a busy machine.
"""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.devcloud import CloudError, wait_for
from tests.cloud.support.guest import ask_agent
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1800)]

PASSWORD, NEW_PASSWORD = "aBc-dEf-42", "gHi-jKl-43"
YEAR_2000 = 946684800  # seconds since 1970
FIRST_BOOT = 900  # seconds of patience, with all cores busy
# What a user's own script does with what it is told: format and mount the volume tagged "data",
# and set root's password if there is one.
SCRIPT = r"""#!/usr/bin/python3
import glob, json, os, subprocess, time, urllib.request

def told():
    drive = "/dev/disk/by-label/config-2"
    if not os.path.exists(drive):
        url = "http://169.254.169.254/openstack/latest/meta_data.json"
        return "service", json.load(urllib.request.urlopen(url))
    os.makedirs("/run/drive", exist_ok=True)
    subprocess.run(["mount", "-o", "ro", drive, "/run/drive"], check=True)
    with open("/run/drive/openstack/latest/meta_data.json") as file:
        return "drive", json.load(file)

source, metadata = told()
if "admin_pass" in metadata:
    line = "root:" + metadata["admin_pass"]
    subprocess.run(["chpasswd"], input=line, text=True, check=True)
tagged = {tag: device for device in metadata["devices"] for tag in device["tags"]}
disk = "/dev/disk/by-id/virtio-" + tagged["data"]["serial"][:20]
place = "/sys/bus/pci/devices/" + tagged["data"]["address"]
subprocess.run(["mkfs.ext4", "-q", disk], check=True)
os.makedirs("/mnt/data", exist_ok=True)
subprocess.run(["mount", disk, "/mnt/data"], check=True)
with open("/mnt/data/told", "w") as file:
    json.dump({"source": source, "place": bool(glob.glob(place + "/virtio*/block/*")),
               "nic": tagged["front"]["mac"], "meta": metadata.get("meta")}, file)
"""


class Debian:
    """A guest to which its user has logged in with a key, by its floating address."""

    def __init__(self, cloud, api, server, address):
        self._cloud, self._api = cloud, api
        self.server, self.address = server, address

    def run(self, *command, check=True):
        """Output of a command; sudo asks for no password."""
        done = subprocess.run(
            ["ip", "netns", "exec", "nova-lite-outside", "ssh", "-i",
             str(self._cloud.state / "keys" / "guest"), "-o", "ConnectTimeout=15",
             "-o", "ServerAliveInterval=15",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "LogLevel=ERROR", f"debian@{self.address}", *command],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            raise CloudError(f"{' '.join(command)} in the guest: {done.stderr.strip()}")
        return done.stdout.strip()

    def wait_booted(self):
        """Until cloud-init is done with the first boot."""

        def look():
            return "status: done" in self.run("cloud-init", "status", check=False)

        wait_for(f"first boot of {self.server['id']}", look, FIRST_BOOT, pause=5.0)

    def password_is(self, password):
        shadow = self.run("sudo", "grep", "^root:", "/etc/shadow").split(":")[1]
        script = "import crypt,sys; print(crypt.crypt(sys.argv[1], sys.argv[2]))"
        return self.run("python3", "-W", "ignore", "-c", f"'{script}'", password,
                        f"'{shadow}'") == shadow  # fmt: skip

    def clock_is_right(self):
        """Within a minute: ssh takes its time on a busy machine."""
        seconds = int(self.run("date", "+%s"))
        return abs(seconds - datetime.now(UTC).timestamp()) < 60


@pytest.fixture(scope="module")
def image(api):
    try:
        return api.image_id("debian")
    except CloudError:
        pytest.skip("this cloud has no Debian: devstack/cloud up --with-debian-image")


@pytest.fixture(scope="module")
def flavor(api, module_garbage):
    body = {"name": f"{NAME_PREFIX}.debian", "ram": 512, "vcpus": 1, "disk": 3}
    found = api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"]
    module_garbage.later(lambda: api.call("DELETE", f"/flavors/{found}", ok=False))
    return str(found)


@pytest.fixture(scope="module")
def fixed(api, module_garbage):
    """A network without DHCP: its guests have their addresses from the metadata alone."""
    body = {"name": f"{NAME_PREFIX}-fixed", "mtu": 1300}
    found = api.rest(api.network, "POST", "/networks", {"network": body})["network"]["id"]
    module_garbage.later(lambda: api.network.request(f"/networks/{found}", "DELETE"))
    for subnet in (
        {"ip_version": 4, "cidr": "10.95.0.0/24", "gateway_ip": None,
         "host_routes": [{"destination": "10.94.0.0/16", "nexthop": "10.95.0.254"}]},
        {"ip_version": 6, "cidr": "fd00:95::/64", "gateway_ip": None},
    ):  # fmt: skip
        subnet = {"network_id": found, "enable_dhcp": False, **subnet}
        api.rest(api.network, "POST", "/subnets", {"subnet": subnet})
    return found


@pytest.fixture(scope="module")
def debian(cloud, api, node, module_garbage, image, flavor, fixed):
    """Boot one whose first boot has all to do; returns it when that is done."""

    def boot(**more):
        later = module_garbage.later
        volume = Volumes(api, later).create("ceph")
        disks = [
            {"boot_index": 0, "uuid": image, "source_type": "image",
             "destination_type": "local", "delete_on_termination": True},
            {"boot_index": -1, "uuid": volume, "source_type": "volume",
             "destination_type": "volume", "delete_on_termination": False, "tag": "data"},
        ]  # fmt: skip
        networks = [{"uuid": api.network_id("private"), "tag": "front"}, {"uuid": fixed}]
        server = api.request_boot(
            node, image=image, flavor=flavor, networks=networks, key_name="nova-lite",
            block_device_mapping_v2=disks, user_data=SCRIPT, metadata={"colour": "green"}, **more,
        )  # fmt: skip
        module_garbage.server(server["id"])
        server = api.wait_status(server["id"], "ACTIVE", 300)
        guest = Debian(cloud, api, server, floating_address(api, server["id"], later))
        guest.wait_booted()
        return guest

    return boot


@pytest.fixture(scope="module")
def from_drive(debian):
    return debian(config_drive=True, adminPass=PASSWORD)


def floating_address(api, server_id, later):
    private = api.network_id("private")
    port = next(port for port in api.ports(server_id) if port["network_id"] == private)
    body = {"floating_network_id": api.network_id("public"), "port_id": port["id"]}
    made = api.rest(api.network, "POST", "/floatingips", {"floatingip": body})["floatingip"]
    later(lambda: api.network.request(f"/floatingips/{made['id']}", "DELETE", raise_exc=False))
    return made["floating_ip_address"]


def check_first_boot(api, guest, source):
    """Name, key, script, volume, tags, and the addresses of a network without DHCP."""
    server = guest.server
    assert guest.run("hostname") == server["OS-EXT-SRV-ATTR:hostname"]
    told = json.loads(guest.run("cat", "/mnt/data/told"))
    ports = {port["network_id"]: port for port in api.ports(server["id"])}
    front = ports.pop(api.network_id("private"))
    assert told == {
        "source": source, "place": True, "nic": front["mac_address"], "meta": {"colour": "green"},
    }  # fmt: skip
    (fixed,) = ports.values()
    card = next(
        card for card in json.loads(guest.run("ip", "-j", "address"))
        if card.get("address") == fixed["mac_address"]
    )  # fmt: skip
    has = {address["local"] for address in card["addr_info"]}
    assert has >= {ip["ip_address"] for ip in fixed["fixed_ips"]}, card
    assert card["mtu"] == 1300
    assert "10.94.0.0/16 via 10.95.0.254" in guest.run("ip", "route")


def test_first_boot_from_a_config_drive(api, from_drive):
    """Its password is set, too: it is on the drive."""
    check_first_boot(api, from_drive, "drive")
    assert "config-disk" in from_drive.run("cloud-init", "query", "subplatform")
    assert from_drive.password_is(PASSWORD)


def test_first_boot_from_the_metadata_service(api, debian):
    """Through the networks of its host, from nova-metadata, which reads our records."""
    guest = debian()
    check_first_boot(api, guest, "service")
    assert "169.254.169.254" in guest.run("cloud-init", "query", "subplatform")


def test_a_new_password(api, from_drive):
    body = {"changePassword": {"adminPass": NEW_PASSWORD}}
    api.call("POST", f"/servers/{from_drive.server['id']}/action", body)
    api.wait_idle(from_drive.server["id"], 60)
    assert from_drive.password_is(NEW_PASSWORD)


def test_the_agent_tells_addresses(api, cloud, node, from_drive):
    """To operators; no API of Nova's has them."""
    uuid = from_drive.server["id"]
    said = cloud.on(node, "virsh", "domifaddr", uuid, "--source", "agent", "--full")
    for port in api.ports(uuid):
        for ip in port["fixed_ips"]:
            assert ip["ip_address"] in said, said


def test_a_snapshot_of_file_systems_at_rest(api, from_drive, garbage):
    """The image demands it (os_require_quiesce); the guest writes on afterwards."""
    uuid = from_drive.server["id"]
    asked = {"createImage": {"name": f"{NAME_PREFIX}-quiesced"}}
    image = api.call("POST", f"/servers/{uuid}/action", asked)["image_id"]
    garbage.later(lambda: api.delete_image(image))

    def active():
        found = api.rest(api.image, "GET", f"/images/{image}")["status"]
        assert found != "killed"
        return found == "active"

    wait_for(f"image {image}", active, 600, pause=2.0)
    api.wait_idle(uuid, 60)
    said = from_drive.run("sudo", "journalctl", "-u", "qemu-guest-agent", "--no-pager")
    assert "guest-fsfreeze called" in said or "fsfreeze" in said, said
    from_drive.run("sudo", "touch", "/mnt/data/after")


@pytest.mark.parametrize(
    ("hold", "held", "go_on"),
    [("pause", "PAUSED", "unpause"), ("suspend", "SUSPENDED", "resume")],
)
def test_the_clock_is_set_after_a_rest(api, cloud, node, from_drive, hold, held, go_on):
    """The guest's agent does so; without, the guest would go on in the past."""
    uuid = from_drive.server["id"]
    ask_agent(cloud, node, uuid, "guest-set-time", time=YEAR_2000 * 10**9)
    assert not from_drive.clock_is_right()
    api.act(uuid, hold)
    api.wait_status(uuid, held, 180)
    time.sleep(1)
    api.act(uuid, go_on)
    api.wait_status(uuid, "ACTIVE", 180)
    wait_for("the right time in the guest", from_drive.clock_is_right, 60, pause=2.0)
