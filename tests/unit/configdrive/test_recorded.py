"""Drives recorded from nova-compute 34.0.0 on a real cloud, against ours for the same servers.

The recordings hold every file; the random seed and the password were replaced.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from nova_lite.configdrive.content import SEED_BYTES, drive_files
from nova_lite.configdrive.data import Device, DriveData
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.model.server import Flavor, Image, Server

DATA = Path(__file__).parent / "data"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJtn9Ag+RufdLBO1bYliIa5qd5AoG6AOMiKyo5hs4xMu nova-lite\n"
PASSWORD = "not-the-real-one"
SEED = bytes(SEED_BYTES)


def server(uuid: str, name: str, **fields: Any) -> Server:
    return Server(
        uuid=uuid,
        domain_name="instance-00000003",
        display_name=name,
        hostname=name,
        flavor=Flavor("m1.nano", "1", 1, 128, 1),
        image=Image("82d72db9-7cf6-43f0-b19b-6c759e07f106"),
        project_id="a9d8ea9b577f43779323b983d4f016a5",
        availability_zone="nova",
        config_drive=True,
        root_device_name="/dev/vda",
        ec2_ami_id="ami-00000002",
        **fields,
    )


def vif(port: str, mac: str, network: Network) -> Vif:
    return Vif(port, mac, network, "ovs", devname=f"tap{port}"[:14])


def key_and_user_data() -> DriveData:
    subnet = Subnet(
        "10.9.0.0/22", 4, "10.9.0.1", dns=("10.9.0.1",), ips=(FixedIp("10.9.3.153", 4),)
    )
    network = Network("22a62e61-3d91-40c3-8dc3-7a35eed318a1", mtu=1500, subnets=(subnet,))
    return DriveData(
        server(
            "e65df29a-910e-4b37-bf9a-440bb9205b5f",
            "imgcd1",
            key_name="nova-lite",
            key_data=KEY,
            user_data=base64.b64encode(b"#!/bin/sh\necho hello from user data\n").decode(),
            metadata={"purpose": "cfgdrive", "two": "deux é"},
            reservation_id="r-b8xg2cyx",
            ec2_instance_id="i-00000003",
        ),
        (vif("12ef28af-3c38-4a54-8633-392aed6a4d17", "fa:16:3e:ab:8b:7d", network),),
        admin_password=PASSWORD,
        security_groups=("default",),
    )


def three_networks() -> DriveData:
    """No DHCP with SLAAC; DHCP with stateful DHCPv6; IPv6 without either."""
    first = Network(
        "b6c5e2b1-8de7-44f0-b7cf-7714529b202f",
        mtu=1300,
        subnets=(
            Subnet(
                "10.77.0.0/24",
                4,
                "10.77.0.1",
                dns=("9.9.9.9", "8.8.4.4"),
                ips=(FixedIp("10.77.0.150", 4),),
                routes=({"cidr": "10.88.0.0/16", "gateway": "10.77.0.254"},),
                enable_dhcp=False,
            ),
            Subnet(
                "fd00:77::/64",
                6,
                "fd00:77::",
                dns=("2620:fe::fe",),
                ips=(FixedIp("fd00:77::f816:3eff:fe0b:176e", 6),),
                ipv6_address_mode="slaac",
            ),
        ),
    )
    second = Network(
        "aaccd1dd-ea9d-4c16-8d38-ce69c28fffa9",
        mtu=1500,
        subnets=(
            Subnet(
                "fd00:78::/64",
                6,
                "fd00:78::",
                ips=(FixedIp("fd00:78::1cb", 6),),
                ipv6_address_mode="dhcpv6-stateful",
            ),
            Subnet(
                "10.78.0.0/24",
                4,
                "10.78.0.1",
                dns=("9.9.9.9",),
                ips=(FixedIp("10.78.0.2", 4),),
                routes=({"cidr": "10.99.0.0/16", "gateway": "10.78.0.254"},),
            ),
        ),
    )
    third = Network(
        "cda4fdb6-8848-4ea6-9b1f-ed9c62bd5a5b",
        mtu=1500,
        subnets=(
            Subnet(
                "fd00:79::/64",
                6,
                "fd00:79::",
                ips=(FixedIp("fd00:79::d6", 6),),
                enable_dhcp=False,
            ),
        ),
    )
    return DriveData(
        server(
            "0d1c13b7-cd18-4fce-a2a3-f5d912405f9e",
            "imgcd2",
            metadata={"a": "b"},
            reservation_id="r-684zxdnh",
            ec2_instance_id="i-00000004",
        ),
        (
            vif("2eaeb0fa-1cb0-46ea-86ab-901094b03c03", "fa:16:3e:0b:17:6e", first),
            vif("d5b4e1f3-50e2-4af2-8c17-4f0639a9ff63", "fa:16:3e:5d:61:5f", second),
            vif("504b3ef8-969e-4823-b61f-8b3518188454", "fa:16:3e:24:48:30", third),
        ),
        admin_password=PASSWORD,
        files=(("/etc/banner", b"hello"), ("/etc/second", b"world")),
        devices=(
            Device("disk", "pci", "0000:05:00.0", ("rootdisk",)),
            Device("nic", "pci", "0000:02:00.0", ("nic1",), mac="fa:16:3e:0b:17:6e"),
        ),
        security_groups=("default",) * 3,
    )


def readable(files: dict[str, bytes]) -> dict[str, Any]:
    """The files as the recordings have them."""
    found: dict[str, Any] = {}
    for path, content in files.items():
        found[path] = json.loads(content) if path.endswith(".json") else content.decode()
        if "random_seed" in found[path]:
            assert base64.b64decode(found[path]["random_seed"]) == SEED
            found[path]["random_seed"] = "SEED"
    return found


@pytest.mark.parametrize(
    ("name", "data"),
    [("key-and-user-data", key_and_user_data()), ("three-networks", three_networks())],
)
def test_every_file_is_as_recorded(name, data):
    """The same files with the same content, in every version."""
    recorded = json.loads((DATA / f"{name}.json").read_text())
    ours = readable(drive_files(data, SEED))

    assert sorted(ours) == sorted(recorded)
    for path, content in recorded.items():
        assert ours[path] == content, path
