"""Choices in a config drive's content that the recorded drives do not show."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest

from nova_lite.configdrive import content, ec2
from nova_lite.configdrive.data import Device, DriveData, Ec2Ids
from nova_lite.errors import ConfigDriveError
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.model.server import BlockDevice, Flavor, Image, Server

SEED = bytes(range(256)) * 2
SERVER = Server(
    uuid="e65df29a-910e-4b37-bf9a-440bb9205b5f",
    domain_name="instance-00000001",
    display_name="one",
    hostname="one",
    flavor=Flavor("m1.nano", "1", 1, 128, 1),
    image=Image("image"),
)
STATIC = Network(
    "net",
    injected=True,
    subnets=(
        Subnet(
            "192.0.2.0/25",
            4,
            "192.0.2.1",
            dns=("192.0.2.2", "192.0.2.3"),
            ips=(FixedIp("192.0.2.9", 4, ("203.0.113.5",)),),
            enable_dhcp=False,
        ),
        Subnet("2001:db8::/64", 6, ips=(FixedIp("2001:db8::9", 6),), enable_dhcp=False),
    ),
)


def drive(server: dict[str, Any] | None = None, **fields: Any) -> dict[str, bytes]:
    made = dataclasses.replace(SERVER, **(server or {}))
    return content.drive_files(DriveData(made, **fields), SEED)


def metadata(files: dict[str, bytes], version: str = "latest") -> dict[str, Any]:
    return json.loads(files[f"openstack/{version}/meta_data.json"])


def test_nothing_to_say_is_not_said():
    """Keys without a value are absent, where guests test for their presence."""
    found = metadata(drive())

    assert not {"meta", "files", "admin_pass", "public_keys", "keys", "network_config"} & set(found)


def test_newer_keys_are_not_in_older_versions():
    """A dated version has what that release had."""
    files = drive()

    assert "random_seed" not in metadata(files, "2012-08-10")
    assert "project_id" not in metadata(files, "2013-10-17")
    assert "devices" not in metadata(files, "2015-10-15")
    assert "dedicated_cpus" not in metadata(files, "2018-08-27")
    assert metadata(files, "latest") == metadata(files, content.VERSIONS[-1])


def test_dedicated_cpus_are_sorted():
    """Pinned guest CPUs come as a sorted list."""
    assert metadata(drive(dedicated_cpus=(3, 1)))["dedicated_cpus"] == [1, 3]


def test_host_name_without_a_domain():
    """An empty dhcp_domain leaves the name as the user gave it."""
    assert metadata(drive(dhcp_domain=""))["hostname"] == "one"


def test_user_data_that_is_not_base64():
    """Bad user data is the user's mistake, named."""
    with pytest.raises(ConfigDriveError, match="user data of server e65df29a"):
        drive({"user_data": "abc"})


def test_binary_user_data_is_kept():
    """User data may be compressed: bytes, not text."""
    raw = bytes(range(256))
    files = drive({"user_data": base64.b64encode(raw).decode()})

    assert files["openstack/latest/user_data"] == files["ec2/latest/user-data"] == raw


def test_vendor_data():
    """The operator's data is in both generations of the file."""
    files = drive(vendor_static={"cloud": "ours"})

    assert json.loads(files["openstack/latest/vendor_data.json"]) == {"cloud": "ours"}
    assert json.loads(files["openstack/latest/vendor_data2.json"]) == {"static": {"cloud": "ours"}}


def test_vendor_data_of_services():
    """They are in the newer file, by their names; the static data keep theirs."""
    files = drive(vendor_static={"a": 1}, vendor_dynamic={"cmdb": {"b": 2}, "static": {"c": 3}})

    assert json.loads(files["openstack/latest/vendor_data.json"]) == {"a": 1}
    found = json.loads(files["openstack/latest/vendor_data2.json"])
    assert found == {"static": {"a": 1}, "cmdb": {"b": 2}}


def test_vendor_data_switched_off():
    """Without the provider the old file is absent and the new one empty."""
    files = drive(vendor_static=None)

    assert "openstack/latest/vendor_data.json" not in files
    assert json.loads(files["openstack/latest/vendor_data2.json"]) == {}


def test_skipped_ec2_versions():
    """The operator chooses the EC2 versions; 'latest' can be left out too."""
    every = drive(skip_ec2=())
    none = drive(skip_ec2=(*ec2.VERSIONS, "latest"))

    assert len([path for path in every if path.startswith("ec2/")]) == 10
    assert not [path for path in none if path.startswith("ec2/")]
    assert "placement" not in json.loads(every["ec2/1.0/meta-data.json"])


def test_ec2_addresses_and_kernel():
    """EC2 guests learn their floating address and their kernel's old style id."""
    vif = Vif("port", "fa:16:3e:00:00:01", STATIC, "ovs")
    found = json.loads(
        drive(vifs=(vif,), ec2=Ec2Ids("aki-1", "ari-1"))["ec2/latest/meta-data.json"]
    )

    assert (found["local-ipv4"], found["public-ipv4"]) == ("192.0.2.9", "203.0.113.5")
    assert (found["kernel-id"], found["ramdisk-id"]) == ("aki-1", "ari-1")


def test_ec2_block_devices():
    """Volumes are numbered by name, ephemeral disks by order; swap is named."""
    devices = (
        BlockDevice("a", "image", "local", 0, "/dev/vda"),
        BlockDevice("b", "volume", "volume", device_name="/dev/vdz"),
        BlockDevice("c", "volume", "volume", device_name="/dev/vdb"),
        BlockDevice("d", "blank", "local", device_name="/dev/vdc"),
        BlockDevice("e", "blank", "local", device_name="/dev/vdd", guest_format="swap"),
    )
    files = drive({"root_device_name": "/dev/vda"}, block_devices=devices)

    assert json.loads(files["ec2/latest/meta-data.json"])["block-device-mapping"] == {
        "ami": "vda",
        "root": "/dev/vda",
        "ebs0": "/dev/vdb",
        "ebs1": "/dev/vdz",
        "ephemeral0": "/dev/vdc",
        "swap": "/dev/vdd",
    }


def test_ec2_devices_of_servers_without_mappings():
    """The server's default devices are told where no mapping has them."""
    root = {"root_device_name": "/dev/vda"}
    files = drive(root, ephemeral_device="/dev/vdb", swap_device="/dev/vdc")

    assert json.loads(files["ec2/latest/meta-data.json"])["block-device-mapping"] == {
        "ami": "vda", "root": "/dev/vda", "ephemeral0": "/dev/vdb", "swap": "/dev/vdc",
    }  # fmt: skip


def test_devices_by_version():
    """VLAN, trust and shares are told from the versions on that know them."""
    files = drive(
        devices=(
            Device("nic", "pci", "0000:00:04.0", mac="fa:16:3e:00:00:02", vlan=7, trusted=True),
            Device("share", share_id="s", share_tag="t"),
        )
    )
    nic = {"type": "nic", "mac": "fa:16:3e:00:00:02", "bus": "pci", "address": "0000:00:04.0"}
    share = {"type": "share", "share_id": "s", "tag": "t", "bus": "none", "address": "none"}

    assert metadata(files, "2016-06-30")["devices"] == []
    assert metadata(files, "2017-02-22")["devices"] == [{**nic, "vlan": 7}]
    assert metadata(files, "2018-08-27")["devices"] == [{**nic, "vlan": 7, "vf_trusted": True}]
    assert metadata(files, "2025-04-04")["devices"][1] == share


def test_injected_network_configuration_comes_first():
    """It takes content/0000, and the user's files follow."""
    vif = Vif("port", "fa:16:3e:00:00:01", STATIC, "ovs")
    files = drive(vifs=(vif,), files=(("/etc/banner", b"hello"),))
    found = metadata(files)

    assert found["network_config"] == {"name": "network_config", "content_path": "/content/0000"}
    assert found["files"] == [{"path": "/etc/banner", "content_path": "/content/0001"}]
    assert files["openstack/content/0001"] == b"hello"
    text = files["openstack/content/0000"].decode()
    assert text.endswith(
        "auto eth0\n"
        "iface eth0 inet static\n"
        "    hwaddress ether fa:16:3e:00:00:01\n"
        "    address 192.0.2.9\n"
        "    netmask 255.255.255.128\n"
        "    broadcast 192.0.2.127\n"
        "    gateway 192.0.2.1\n"
        "    dns-nameservers 192.0.2.2 192.0.2.3\n"
        "iface eth0 inet6 static\n"
        "    hwaddress ether fa:16:3e:00:00:01\n"
        "    address 2001:db8::9\n"
        "    netmask 64\n"
    )


def test_dhcp_server_tells_the_mtu_and_the_address():
    """With a DHCP server the drive leaves MTU and addresses to it."""
    subnet = Subnet("10.0.0.0/24", 4, ips=(FixedIp("10.0.0.5", 4),), dhcp_server="10.0.0.2")
    network = Network("net", mtu=9000, injected=True, subnets=(subnet,))
    found = json.loads(
        drive(vifs=(Vif("port", "fa:16:3e:00:00:01", network, "hostdev_physical"),))[
            "openstack/latest/network_data.json"
        ]
    )

    assert found["links"][0]["mtu"] is None
    assert (found["links"][0]["id"], found["links"][0]["type"]) == ("interface0", "phy")
    assert [net["type"] for net in found["networks"]] == ["ipv4_dhcp"]


def test_interfaces_without_subnets_are_left_out():
    """A port without addresses has nothing to configure; no ports at all is an empty object."""
    bare = Vif("port", "fa:16:3e:00:00:01", Network("net"), "ovs")
    one = json.loads(drive(vifs=(bare,))["openstack/latest/network_data.json"])
    none = json.loads(drive()["openstack/latest/network_data.json"])

    assert (one, none) == ({"links": [], "networks": [], "services": []}, {})


def test_password_does_not_show():
    """The password and the injected files are on the drive, not in anything that is printed."""
    data = DriveData(SERVER, admin_password="s3cret", files=(("/etc/x", b"t0ken"),))

    assert "s3cret" not in repr(data) and "t0ken" not in repr(data)
