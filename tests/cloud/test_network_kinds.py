"""Networks of every kind: what the guest sees of them, and what users see of their server."""

from __future__ import annotations

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.networks import (
    GATEWAY,
    Neighbour,
    Neutron,
    addresses,
    boot_guests,
    soon,
)

pytestmark = pytest.mark.cloud

SMALL_MTU = 1342
PROVIDER_VLAN = {"nlt": 40, "nlt0": 41, "nlt1": 42}[NAME_PREFIX]  # outside of Neutron's range
DOMAIN = "nova-lite.test"


@pytest.fixture(scope="module")
def dual(api, module_garbage):
    """A network with IPv4 and IPv6, behind a router that announces the prefix; its group."""
    neutron = Neutron(api, module_garbage)
    network = neutron.network("192.168.61.0/24", "fd00:61::/64")
    neutron.router(network)
    group = neutron.group("dual")["id"]
    neutron.allow(group, "icmp")
    neutron.allow(group, "tcp")
    neutron.allow(group, "ipv6-icmp", ethertype="IPv6")
    neutron.allow(group, "tcp", ethertype="IPv6")
    return network, group


@pytest.fixture(scope="module")
def guests(api, cloud, node, module_garbage, dual):
    """One per host; the second interface is on a network with small frames and a route."""
    network, group = dual
    neutron = Neutron(api, module_garbage)
    small = neutron.network(mtu=SMALL_MTU)
    route = {"destination": "198.51.100.0/24", "nexthop": "192.168.62.77"}
    neutron.subnet(small, "192.168.62.0/24", gateway_ip=None, host_routes=[route])
    places = {
        host: [neutron.port(where, security_groups=[group]) for where in (network, small)]
        for host in (node, cloud.other_node(node))
    }
    return boot_guests(api, cloud, module_garbage, places)


def fixed_ip(port, version):
    """The port's address of an IP version."""
    mark = ":" if version == 6 else "."
    return next(ip["ip_address"] for ip in port["fixed_ips"] if mark in ip["ip_address"])


@pytest.mark.core
def test_both_ip_versions(api, guests):
    """Guests of two hosts reach each other by IPv4 and by the IPv6 address that users are told."""
    here, there = guests
    for guest in guests:
        told = {ip["ip_address"] for port in guest.ports for ip in port["fixed_ips"]}
        assert set(addresses(api.server(guest.id), "fixed")) == told
        assert len(told) == 3
    for version in (4, 6):
        target = fixed_ip(there.port, version)
        soon(f"ping by IPv{version}", lambda target=target: here.pings(target))
    assert here.connects(fixed_ip(there.port, 6))


def test_interfaces_are_in_the_order_of_the_request(guests):
    """eth0 is the first port, eth1 the second."""
    for guest in guests:
        found = guest.guest.ask("cat /sys/class/net/eth0/address /sys/class/net/eth1/address")
        assert found.split() == [port["mac_address"] for port in guest.ports]


def test_the_size_of_frames(guests):
    """The guest uses the MTU of each network, and such frames arrive unbroken at another host."""
    here, there = guests
    for index, mtu in ((0, 1500), (1, SMALL_MTU)):
        soon(
            f"MTU of eth{index}",
            lambda index=index, mtu=mtu: here.says(f"grep -x {mtu} /sys/class/net/eth{index}/mtu"),
        )
        target = fixed_ip(there.ports[index], 4)
        size = mtu - 28  # headers of IP and ICMP
        soon(
            f"ping of {mtu} bytes",
            lambda target=target, size=size: here.says(f"ping -c 1 -W 2 -s {size} {target}"),
        )


def test_routes_of_a_subnet(guests):
    """The guest has the subnet's own route, and the only default route is the other network's."""
    said = soon("routes", lambda: guests[0].guest.ask("ip route"))
    assert "198.51.100.0/24 via 192.168.62.77 dev eth1" in said
    defaults = [line for line in said.splitlines() if line.startswith("default")]
    assert len(defaults) == 1 and "via 192.168.61.1 dev eth0" in defaults[0]


def test_a_guest_finds_another_by_name(api, guests):
    """The port has its server's host name, and Neutron's name service answers for it."""
    here, there = guests
    port = api.rest(api.network, "GET", f"/ports/{there.port['id']}")["port"]
    assert port["dns_name"] == there.name
    name = f"{there.name}.{DOMAIN}"
    assert name in [found["fqdn"].rstrip(".") for found in port["dns_assignment"]]
    target = fixed_ip(there.port, 4)
    soon("answer", lambda: target in here.guest.ask(f"nslookup {name} 192.168.61.1 2>&1; echo"))


def test_a_trunk(api, cloud, node, neutron, dual, guests, garbage):
    """VLAN 101 of the guest's interface is another network; trunk and ports outlive the server."""
    network, group = dual
    own = neutron.network("192.168.63.0/24")
    parent = neutron.port(own, security_groups=[group])
    child = neutron.port(network, security_groups=[group], mac_address=parent["mac_address"])
    trunk = neutron.trunk(parent["id"], child["id"], 101)
    (guest,) = boot_guests(api, cloud, garbage, {node: [parent]})
    assert addresses(api.server(guest.id)) == [fixed_ip(parent, 4)]
    status = f"/trunks/{trunk}"
    soon("trunk ACTIVE", lambda: neutron.call("GET", status)["trunk"]["status"] == "ACTIVE")

    guest.guest.ask(
        "modprobe 8021q; ip link add link eth0 name eth0.101 type vlan id 101;"
        f"ip addr add {fixed_ip(child, 4)}/24 dev eth0.101; ip link set eth0.101 up; echo done"
    )
    soon("ping through the trunk", lambda: guest.pings(fixed_ip(guests[1].port, 4)))

    api.delete(guest.id)
    api.wait_gone(guest.id)
    left = neutron.call("GET", status)["trunk"]
    assert [sub["port_id"] for sub in left["sub_ports"]] == [child["id"]]
    unbound = neutron.call("GET", f"/ports/{parent['id']}")["port"]
    assert (unbound["device_id"], unbound["binding:host_id"]) == ("", "")


def test_a_network_of_the_provider(api, cloud, node, neutron, garbage):
    """A guest on a VLAN of the provider talks to a machine there without router or floating IP."""
    network = neutron.network(
        **{"provider:network_type": "vlan", "provider:physical_network": "public",
           "provider:segmentation_id": PROVIDER_VLAN},
    )  # fmt: skip
    neutron.subnet(network, "203.0.113.0/24", gateway_ip=None,
                   allocation_pools=[{"start": "203.0.113.10", "end": "203.0.113.99"}])  # fmt: skip
    group = neutron.group("provider")["id"]
    neutron.allow(group, "icmp")
    port = neutron.port(network, security_groups=[group])
    machine = "203.0.113.1"
    with Neighbour(cloud, cloud.other_node(node), PROVIDER_VLAN, f"{machine}/24") as neighbour:
        (guest,) = boot_guests(api, cloud, garbage, {node: [port]})
        soon("ping from the machine", lambda: neighbour.pings(guest.address))
        soon("ping of the machine", lambda: guest.pings(machine))


def test_the_public_network_itself(api, cloud, node, neutron, outside, garbage):
    """A guest on the untagged network of the provider, which has no DHCP."""
    group = neutron.group("public")["id"]
    neutron.allow(group, "icmp")
    port = neutron.port(api.network_id("public"), security_groups=[group])
    (guest,) = boot_guests(api, cloud, garbage, {node: [port]})
    assert addresses(api.server(guest.id)) == [guest.address]
    guest.guest.ask(f"ip addr add {guest.address}/24 dev eth0; echo done")
    soon("ping from outside", lambda: outside.pings(guest.address))
    assert guest.pings(GATEWAY)


def test_many_interfaces(api, neutron, boot):
    """Ports, networks and chosen addresses in any order: the guest has them in this order."""
    networks = [neutron.network(f"192.168.{number}.0/24") for number in (64, 65, 66)]
    given = [neutron.port(network) for network in networks[:2]]
    asked = [
        {"uuid": networks[2], "fixed_ip": "192.168.66.66"},
        {"port": given[1]["id"]},
        {"uuid": networks[0]},
        {"uuid": networks[2]},
        {"port": given[0]["id"]},
        {"uuid": networks[1], "fixed_ip": "192.168.65.65"},
    ]
    server = boot(networks=asked)
    ports = {port["mac_address"]: port for port in api.ports(server["id"])}
    console = api.wait_console(server["id"], "TINY: nic eth5")
    nics = [line.split()[3] for line in console.splitlines() if "TINY: nic eth" in line]
    found = [ports[mac] for mac in nics]
    wanted = [networks[index] for index in (2, 1, 0, 2, 0, 1)]
    assert [port["network_id"] for port in found] == wanted
    assert found[0]["fixed_ips"][0]["ip_address"] == "192.168.66.66"
    assert (found[1]["id"], found[4]["id"]) == (given[1]["id"], given[0]["id"])
    assert found[5]["fixed_ips"][0]["ip_address"] == "192.168.65.65"
    told = {ip["ip_address"] for port in found for ip in port["fixed_ips"]}
    assert set(addresses(api.server(server["id"]))) == told
