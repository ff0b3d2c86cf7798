"""What a guest is told, on its config drive and by the metadata service, equals what nova-compute
tells the same server: file by file, after a boot, a rebuild and a rescue."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.devcloud import STOCK, wait_for
from tests.cloud.support.first_boot import (
    MetadataService,
    differences,
    drive_path,
    is_iso,
    read_drive,
    volume_description,
    without_devices,
)
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.alone]

PASSWORD = "aBc-dEf-42"
SCRIPT = "#!/bin/sh\necho hello from user data\n"
# The last one with files in the request; it knows tags as well.
WITH_FILES = "2.56"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtn9Ag+RufdLBO1bYliIa5qd5AoG6AOMiKyo5hs4xMu nova-lite\n"
# Nobody listens at the address of the service. Not vfat, which nova-compute has to mount: a kernel
# may not have it. tests/unit/configdrive/test_writer.py makes such drives.
OPTIONS = """
[DEFAULT]
force_config_drive = true
flat_injected = true
[api]
dhcp_domain = example.org
config_drive_skip_versions = 1.0 2007-01-19 latest
vendordata_providers = StaticJSON, DynamicJSON
vendordata_jsonfile_path = /var/lib/nova/vendor.json
vendordata_dynamic_targets = cmdb@http://127.0.0.1:9/
"""
FILES = [{"path": "/etc/banner", "contents": base64.b64encode(b"hello").decode()}]


def network(api, later, name, subnets, **more):
    """A network of this test's own; returns its id."""
    body = {"name": f"{NAME_PREFIX}-{name}", **more}
    found = api.rest(api.network, "POST", "/networks", {"network": body})["network"]["id"]
    later(lambda: api.network.request(f"/networks/{found}", "DELETE", raise_exc=False))
    for subnet in subnets:
        api.rest(api.network, "POST", "/subnets", {"subnet": {"network_id": found, **subnet}})
    return found


def networks(api, later):
    """One with DHCP and SLAAC, and one without DHCP whose IPv6 addresses come from DHCPv6."""
    first = network(api, later, "dual", [
        {"ip_version": 4, "cidr": "10.97.0.0/24", "dns_nameservers": ["9.9.9.9", "8.8.4.4"],
         "host_routes": [{"destination": "10.98.0.0/16", "nexthop": "10.97.0.254"}]},
        {"ip_version": 6, "cidr": "fd00:97::/64", "ipv6_address_mode": "slaac",
         "ipv6_ra_mode": "slaac", "dns_nameservers": ["2620:fe::fe"]},
    ])  # fmt: skip
    second = network(api, later, "fixed", [
        {"ip_version": 4, "cidr": "10.96.0.0/24", "enable_dhcp": False,
         "dns_nameservers": ["9.9.9.9"], "gateway_ip": None},
        {"ip_version": 6, "cidr": "fd00:96::/64", "ipv6_address_mode": "dhcpv6-stateful",
         "ipv6_ra_mode": "dhcpv6-stateful"},
    ], mtu=1300)  # fmt: skip
    return first, second


def security_group(api, later):
    body = {"security_group": {"name": f"{NAME_PREFIX}-group"}}
    found = api.rest(api.network, "POST", "/security-groups", body)["security_group"]["id"]
    later(lambda: api.network.request(f"/security-groups/{found}", "DELETE", raise_exc=False))
    return found


def key_pair(api, later):
    body = {"name": f"{NAME_PREFIX}-{time.time_ns()}", "public_key": KEY, "type": "ssh"}
    name = api.call("POST", "/os-keypairs", {"keypair": body})["keypair"]["name"]
    later(lambda: api.call("DELETE", f"/os-keypairs/{name}", ok=False))
    return name


def certificate(api, later):
    """A key pair of the other kind, for guests that take certificates."""
    name = f"{NAME_PREFIX}-{time.time_ns()}"
    old(api, "/os-keypairs", {"keypair": {"name": name, "type": "x509"}})
    later(lambda: api.call("DELETE", f"/os-keypairs/{name}", ok=False))
    return name


def old(api, path, body):
    """A POST with the last microversion that takes files."""
    return api.rest(api.compute, "POST", path, body, microversion=WITH_FILES)


def boot_with_everything(api, node, garbage, **changes):
    """A server about which there is all to tell that a user can have told."""
    first, second = networks(api, garbage.later)
    group = security_group(api, garbage.later)
    port = api.create_port(network_id=second, security_groups=[group])["id"]
    garbage.later(lambda: api.delete_port(port))
    volume = Volumes(api, garbage.later).create("ceph")
    image = api.image_id("tiny-fast")
    disks = [
        {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "local",
         "delete_on_termination": True, "tag": "system"},
        {"boot_index": -1, "uuid": volume, "source_type": "volume", "destination_type": "volume",
         "delete_on_termination": False, "tag": "data"},
        {"boot_index": -1, "source_type": "blank", "destination_type": "local", "volume_size": 1,
         "guest_format": "swap", "delete_on_termination": True},
    ]  # fmt: skip
    body = {
        "name": f"{NAME_PREFIX}-told", "imageRef": image, "flavorRef": flavor(api, garbage.later),
        "networks": [{"uuid": first, "tag": "front"}, {"port": port}],
        "availability_zone": f"nova:{node}", "config_drive": True, "adminPass": PASSWORD,
        "key_name": key_pair(api, garbage.later), "metadata": {"purpose": "told", "two": "deux é"},
        "user_data": base64.b64encode(SCRIPT.encode()).decode(), "personality": FILES,
        "block_device_mapping_v2": disks, **changes,
    }  # fmt: skip
    server = old(api, "/servers", {"server": body})["server"]["id"]
    garbage.server(server)
    return api.wait_status(server, "ACTIVE", 180)


def flavor(api, later):
    body = {"name": f"{NAME_PREFIX}.swap", "ram": 128, "vcpus": 1, "disk": 1, "swap": 1024}
    found = api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"]
    later(lambda: api.call("DELETE", f"/flavors/{found}", ok=False))
    return str(found)


class Teller:
    """Reads what one server is told, and has it told anew."""

    def __init__(self, api, cloud, node, server):
        self._api, self._cloud, self._node = api, cloud, node
        self._service = MetadataService(cloud)
        self.server = server

    def told(self, name="disk.config") -> SimpleNamespace:
        path = drive_path(self._cloud, self._node, self.server["id"], name)
        # nova-metadata remembers a server's data for 15 seconds.
        time.sleep(16)
        found = SimpleNamespace(
            drive=read_drive(path),
            service=self._service.tree(self.server),
            volume=volume_description(path) if is_iso(path) else {},
        )
        self._check_places(found)
        return found

    def rebuilt(self) -> SimpleNamespace:
        uuid = self.server["id"]
        image = self._api.image_id("tiny-fast")
        asked = {"imageRef": image, "adminPass": PASSWORD, "personality": FILES}
        old(self._api, f"/servers/{uuid}/action", {"rebuild": asked})
        self._api.wait_status(uuid, "ACTIVE", 180)
        return self.told()

    def rescued(self) -> SimpleNamespace:
        uuid = self.server["id"]
        self._api.act(uuid, "rescue", {"adminPass": PASSWORD})
        self._api.wait_status(uuid, "RESCUE", 180)
        found = self.told("disk.config.rescue")
        self._api.act(uuid, "unrescue")
        self._api.wait_status(uuid, "ACTIVE", 90)
        return found

    def _check_places(self, found: SimpleNamespace) -> None:
        """Each device is where its guest has it."""
        xml = ElementTree.fromstring(self._cloud.on(self._node, "virsh", "dumpxml",
                                                    self.server["id"]))  # fmt: skip
        there = {_place(device) for device in xml.iter("address")} - {None}
        for tree in (found.drive, found.service):
            for device in tree["openstack/latest/meta_data.json"]["devices"]:
                assert device["address"] in there, device


def _place(address: ElementTree.Element) -> str | None:
    if address.get("type") != "pci":
        return None
    values = [int(str(address.get(key)), 16) for key in ("domain", "bus", "slot", "function")]
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*values)


@pytest.mark.timeout(900)
def test_a_guest_is_told_what_stock_tells(api, cloud, node, garbage, change_agent):
    """Boot, rebuild and rescue by nova_lite; then rebuild and rescue of the same server by
    nova-compute."""
    teller = Teller(api, cloud, node, boot_with_everything(api, node, garbage))
    ours = {"boot": teller.told(), "rebuild": teller.rebuilt(), "rescue": teller.rescued()}
    change_agent(STOCK)
    theirs = {"rebuild": teller.rebuilt(), "rescue": teller.rescued()}
    theirs["boot"] = theirs["rebuild"]
    for told in (ours, theirs):
        # nova-compute puts the devices of the rescue system into the records, and leaves them there
        # until the next hard reboot; nova_lite keeps those of the server.
        told["rescue"].service = without_devices(told["rescue"].service)

    assert_equal(ours, theirs)
    told = theirs["boot"].drive["openstack/latest/meta_data.json"]
    assert told["admin_pass"] == PASSWORD and len(told["devices"]) == 3, json.dumps(told)


@pytest.mark.timeout(900)
def test_options_mean_what_they_mean_to_stock(api, cloud, node, garbage, change_agent):
    """Those of nova.conf that shape a drive, all with values of their own."""
    vendor = cloud.nova_files(node) / "vendor.json"
    vendor.write_text(json.dumps({"cloud": "ours"}))
    garbage.later(vendor.unlink)
    with cloud.options(node, OPTIONS):
        key = certificate(api, garbage.later)
        server = boot_with_everything(api, node, garbage, config_drive=False, key_name=key)
        assert server["config_drive"] == "True"
        teller = Teller(api, cloud, node, server)
        ours = {"boot": teller.told()}
        change_agent(STOCK)
        theirs = {"boot": teller.rebuilt()}

    assert_equal(ours, theirs)
    drive = theirs["boot"].drive
    told = drive["openstack/latest/meta_data.json"]
    assert told["hostname"].endswith(".example.org") and told["keys"][0]["type"] == "x509"
    assert drive["openstack/latest/vendor_data2.json"] == {"static": {"cloud": "ours"}, "cmdb": {}}
    assert "ec2/2008-09-01/meta-data.json" in drive and "network_config" in str(drive)


def assert_equal(ours, theirs):
    found = [
        f"{verb}, {source}: {line}"
        for verb in ours
        for source in ("drive", "service", "volume")
        for line in differences(getattr(ours[verb], source), getattr(theirs[verb], source))
    ]
    assert not found, "nova_lite first, nova-compute second:\n" + "\n".join(found)


def test_user_data_that_is_no_base64(api):
    """Refused by the API: no agent sees it."""
    body = {"name": NAME_PREFIX, "imageRef": api.image_id("tiny-fast"), "networks": "none",
            "flavorRef": api.flavor("m1.nano"), "user_data": "abc"}  # fmt: skip
    answer = api.call("POST", "/servers", {"server": body}, ok=False)
    assert answer.status_code == 400 and "user_data" in answer.text


def test_a_service_of_the_operator_that_is_down(api, cloud, node, garbage):
    """With vendordata_dynamic_failure_fatal no server is built: the event names the service, and
    nothing stays on the host."""
    fatal = f"{OPTIONS}vendordata_dynamic_failure_fatal = true\n"
    vendor = cloud.nova_files(node) / "vendor.json"
    vendor.write_text("{}")
    garbage.later(vendor.unlink)
    with cloud.options(node, fatal):
        server = api.request_boot(node, config_drive=True)["id"]
        garbage.server(server)
        found = wait_for("the end of the boot", lambda: failed(api, server), 180)
    assert found["fault"]["code"] == 500, found["fault"]
    event = api.wait_event(server, "create", "compute__do_build_and_run_instance")
    assert event["result"] == "Error"
    assert "the service cmdb" in json.dumps(event), event
    assert not drive_path(cloud, node, server).parent.exists()


def failed(api, server):
    found = api.server(server)
    return found if found["status"] == "ERROR" else None
