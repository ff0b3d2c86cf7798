"""Security groups, floating IPs and the way out, as seen from the guests and from outside."""

from __future__ import annotations

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.networks import (
    GATEWAY,
    NetworkGuest,
    Neutron,
    addresses,
    boot_guests,
    never,
    soon,
)

pytestmark = pytest.mark.cloud

CALLS = 7007  # TCP port of the server outside that tells callers their address


@pytest.fixture(scope="module")
def guests(api, cloud, node, module_garbage):
    """Two guests behind a router of their own, one per host; their group lets nothing in."""
    neutron = Neutron(api, module_garbage)
    network = neutron.network("192.168.60.0/24")
    neutron.router(network)
    wall = neutron.group("wall")
    places = {
        host: [neutron.port(network, security_groups=[wall["id"]])]
        for host in (node, cloud.other_node(node))
    }
    return boot_guests(api, cloud, module_garbage, places)


@pytest.fixture
def here(guests, neutron) -> NetworkGuest:
    """The guest of the host under test; its port is put back into its group afterwards."""
    yield guests[0]
    restore(guests[0], neutron)


@pytest.fixture
def there(guests, neutron) -> NetworkGuest:
    yield guests[1]
    restore(guests[1], neutron)


def restore(guest, neutron):
    groups = guest.port["security_groups"]
    neutron.update_port(guest.port["id"], security_groups=groups, port_security_enabled=True)


@pytest.mark.core
def test_a_rule_takes_effect_on_a_running_server(api, neutron, outside, here):
    """What no rule allows does not come in; a rule opens that alone, and closes it when it goes."""
    group = neutron.group("rules")
    neutron.update_port(here.port["id"], security_groups=[group["id"]])
    address = neutron.floating_ip(here.port["id"])["floating_ip_address"]
    soon("floating IP in the server", lambda: address in addresses(api.server(here.id)))
    never("a ping came in", lambda: outside.pings(address))

    ping = neutron.allow(group["id"], "icmp")
    soon("ping from outside", lambda: outside.pings(address))
    never("SSH came in", lambda: outside.connects(address))

    neutron.allow(group["id"], "tcp")
    soon("SSH from outside", lambda: outside.connects(address))
    assert outside.ssh(address, "hostname").strip() == here.name
    neutron.forbid(ping)
    soon("no ping from outside", lambda: not outside.pings(address))
    never("a ping came in", lambda: outside.pings(address))
    assert outside.connects(address)


def test_a_rule_that_refers_to_another_group(neutron, here, there):
    """Members of the group come in from another host; a guest that leaves it does not."""
    servers, clients = neutron.group("servers"), neutron.group("clients")
    neutron.allow(servers["id"], "icmp", remote_group_id=clients["id"])
    neutron.update_port(here.port["id"], security_groups=[servers["id"]])
    never("a ping of no member came in", lambda: there.pings(here.address))

    neutron.update_port(there.port["id"], security_groups=[clients["id"]])
    soon("ping of a member", lambda: there.pings(here.address))
    never("a ping in the other direction came in", lambda: here.pings(there.address))
    never("SSH of a member came in", lambda: there.connects(here.address))

    neutron.update_port(there.port["id"], security_groups=[])
    soon("no ping of a former member", lambda: not there.pings(here.address))


def test_groups_of_a_server_on_the_command_line(api, neutron, here, there):
    """``server add security group`` opens, ``server remove security group`` closes."""
    group = neutron.group("open")
    neutron.allow(group["id"], "icmp")
    never("a ping came in", lambda: there.pings(here.address))

    api.cli("server", "add", "security", "group", here.id, group["name"])
    soon("ping", lambda: there.pings(here.address))
    shown = {found["name"] for found in api.server(here.id)["security_groups"]}
    assert group["name"] in shown and len(shown) == 2

    api.cli("server", "remove", "security", "group", here.id, group["name"])
    soon("no ping", lambda: not there.pings(here.address))
    assert group["name"] not in {g["name"] for g in api.server(here.id)["security_groups"]}


def test_port_security_off_and_on(neutron, here, there):
    """Without it everything comes in, foreign addresses of the guest too; with it nothing does."""
    foreign = "192.168.60.250"
    here.guest.ask(f"ip addr add {foreign}/24 dev eth0; echo done")
    never("a ping came in", lambda: there.pings(here.address))

    neutron.update_port(here.port["id"], security_groups=[], port_security_enabled=False)
    soon("ping", lambda: there.pings(here.address))
    soon("ping of an address that is not the port's", lambda: there.pings(foreign))

    groups = here.port["security_groups"]
    neutron.update_port(here.port["id"], security_groups=groups, port_security_enabled=True)
    soon("no ping", lambda: not there.pings(here.address))
    never("a ping of a foreign address came in", lambda: there.pings(foreign))


def test_a_floating_ip_comes_and_goes(api, neutron, outside, here):
    """Added and removed on the command line: ``server show`` and the world outside agree."""
    group = neutron.group("reachable")
    neutron.allow(group["id"], "icmp")
    neutron.update_port(here.port["id"], security_groups=[group["id"]])
    address = neutron.floating_ip()["floating_ip_address"]
    assert addresses(api.server(here.id), "floating") == []

    api.cli("server", "add", "floating", "ip", here.id, address)
    soon("floating IP in the server", lambda: addresses(api.server(here.id), "floating"))
    assert addresses(api.server(here.id), "floating") == [address]
    assert addresses(api.server(here.id), "fixed") == [here.address]
    soon("ping from outside", lambda: outside.pings(address))

    api.cli("server", "remove", "floating", "ip", here.id, address)
    soon("none in the server", lambda: not addresses(api.server(here.id), "floating"))
    soon("no ping from outside", lambda: not outside.pings(address))


def test_a_floating_ip_moves_to_another_server(api, neutron, outside, here, there):
    """The server that had it loses it; the address leads to the other guest."""
    group = neutron.group("movable")
    neutron.allow(group["id"], "tcp")
    for guest in (here, there):
        neutron.update_port(guest.port["id"], security_groups=[group["id"]])
    floating = neutron.floating_ip(here.port["id"])
    address = floating["floating_ip_address"]
    soon("SSH from outside", lambda: outside.connects(address))
    assert outside.ssh(address, "hostname").strip() == here.name

    neutron.associate(floating["id"], there.port["id"])

    soon("in one server", lambda: address in addresses(api.server(there.id)))
    soon("not in the other", lambda: address not in addresses(api.server(here.id)))
    soon("SSH from outside", lambda: there.name in outside.ssh(address, "hostname"))


def test_the_way_out(neutron, outside, here):
    """Guests reach what is outside: by the router's address, or by a floating IP of their own."""
    with outside.caller_teller(CALLS):
        ask = f"nc -w 3 {GATEWAY} {CALLS} </dev/null"
        shared = wait_for("answer from outside", lambda: here.guest.ask(ask + "; echo").strip(), 60)
        assert shared not in (here.address, "")
        never("a ping came in", lambda: outside.pings(here.address))

        address = neutron.floating_ip(here.port["id"])["floating_ip_address"]
        soon("a call by floating IP", lambda: address in here.guest.ask(ask + "; echo"))
