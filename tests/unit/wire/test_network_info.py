"""Nova's network info: what stock nova wrote is read and written back the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_lite import errors
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.wire import network_info

DATA = Path(__file__).parents[2] / "data" / "network_info" / "captured.json"
CAPTURED = json.loads(DATA.read_text())

FULL = Vif(
    id="0725fe29-8b78-4274-82e5-3b20fc53d2c9",
    mac="fa:16:3e:ce:a2:fc",
    network=Network(
        id="c0404ec7-bfbe-4160-833b-831d9f414eb1",
        label="net",
        bridge="br-int",
        mtu=1442,
        project_id="p",
        physical_network=None,
        tunneled=True,
        subnets=(
            Subnet(
                cidr="2001:db8::/64",
                version=6,
                dns=("2001:db8::53",),
                ips=(FixedIp("2001:db8::5", 6),),
                routes=({"cidr": "2001:db8:1::/64", "gateway": "2001:db8::9"},),
                dhcp_server="2001:db8::2",
                ipv6_address_mode="dhcpv6-stateful",
            ),
            Subnet(
                cidr="10.0.0.0/24",
                version=4,
                gateway="10.0.0.1",
                ips=(FixedIp("10.0.0.5", 4, ("172.24.4.7",)),),
                enable_dhcp=False,
            ),
        ),
        meta={"should_create_bridge": True},
    ),
    vif_type="ovs",
    details={"port_filter": True},
    profile={"os_vif_delegation": True},
    devname="tap0725fe29-8b",
    ovs_interfaceid="0725fe29-8b78-4274-82e5-3b20fc53d2c9",
    active=True,
    preserve=True,
    meta={"rxtx_cap": 1.0},
)


def without_view_keys(vifs):
    """Nova adds a label and a MAC to addresses when it lists them; they tell nothing new."""
    for vif in vifs:
        for subnet in vif["network"]["subnets"]:
            for ip in subnet["ips"]:
                for place in (ip, ip["meta"]):
                    place.pop("label", None)
                    place.pop("vif_mac", None)
    return vifs


@pytest.mark.parametrize("sample", CAPTURED, ids=lambda sample: sample["message"])
def test_what_stock_nova_wrote_is_written_back_the_same(sample):
    """Reading and writing changes nothing but the order of keys."""
    text = json.dumps(sample["network_info"])
    written = json.loads(network_info.dump(network_info.load(text)))
    assert written == without_view_keys(json.loads(text))


def test_the_samples_cover_floating_addresses_name_servers_and_several_ports():
    """Guards the test above against samples that show nothing."""
    text = json.dumps(CAPTURED)
    assert '"type": "floating"' in text and '"type": "dns"' in text
    assert max(len(sample["network_info"]) for sample in CAPTURED) > 1


def test_every_field_survives():
    """Also those that no captured interface has: IPv6, routes, DHCP server, unknown meta."""
    assert network_info.load(network_info.dump([FULL])) == [FULL]


def test_the_form_of_gateways_routes_and_meta():
    """A missing gateway is an address of None; DHCP keys appear only when they are known."""
    subnets = json.loads(network_info.dump([FULL]))[0]["network"]["subnets"]
    none = {"address": None, "type": "gateway", "version": None, "meta": {}}
    assert subnets[0]["gateway"] == none
    assert subnets[0]["routes"][0]["gateway"]["version"] == 6
    assert subnets[0]["meta"] == {
        "enable_dhcp": True,
        "dhcp_server": "2001:db8::2",
        "ipv6_address_mode": "dhcpv6-stateful",
    }
    assert subnets[1]["meta"] == {"enable_dhcp": False}


def test_a_cache_of_an_older_release_is_read():
    """Keys that did not exist then take their defaults; a foreign delegate_create is kept."""
    old = json.loads(network_info.dump([FULL]))
    for key in ("profile", "vnic_type", "preserve_on_delete"):
        del old[0][key]
    old[0]["delegate_create"] = False
    del old[0]["network"]["meta"]["tunneled"]
    vif = network_info.load(json.dumps(old))[0]
    assert (vif.vnic_type, vif.preserve, vif.network.tunneled) == ("normal", False, False)
    assert json.loads(network_info.dump([vif]))[0]["delegate_create"] is False


@pytest.mark.parametrize("text", [None, "", "[]"])
def test_no_interfaces(text):
    """A server without network has an empty or missing cache."""
    assert network_info.load(text) == []


@pytest.mark.parametrize("text", ["{", '["x"]', '[{"id": "x"}]', "5"])
def test_garbage_is_refused_by_name(text):
    """A damaged cache is reported as such."""
    with pytest.raises(errors.MalformedMessage, match="network_info"):
        network_info.load(text)
