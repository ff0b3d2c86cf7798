"""Ports that are deleted in Neutron under their server: nothing of them stays on the host.

That the switch keeps nothing of a deleted server is asked by the ledger, after each test.
"""

from __future__ import annotations

import json

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

DETACH_SECONDS = 200  # a guest that boots does not heed the request, and is asked again


@pytest.fixture
def two_ports(api, garbage, boot):
    """A server whose guest is up, and its second port."""
    ports = [api.create_port() for _ in range(2)]
    for port in ports:
        garbage.later(lambda port=port: api.delete_port(port["id"]))
    server = boot(networks=[{"port": port["id"]} for port in ports])
    api.wait_console(server["id"], "TINY: ready")
    return server["id"], ports[1]


def interfaces(cloud, node, server):
    """Ids of the ports that the host's switch has for a server."""
    table = json.loads(
        cloud.on(node, "ovs-vsctl", "--format=json", "--columns=external_ids", "list", "Interface")
    )
    found = [dict(map(tuple, pairs)) for ((_, pairs),) in table["data"]]
    return sorted(ids["iface-id"] for ids in found if ids.get("vm-uuid") == server)


def addresses(api, server):
    found = api.server(server)["addresses"]
    return {address["addr"] for group in found.values() for address in group}


def macs(cloud, node, server):
    return cloud.on(node, "virsh", "dumpxml", server, check=False).count("<mac address=")


def is_rid_of(cloud, api, node, server, port):
    return (
        port["id"] not in interfaces(cloud, node, server)
        and macs(cloud, node, server) == 1
        and port["fixed_ips"][0]["ip_address"] not in addresses(api, server)
    )


@pytest.mark.core
def test_a_deleted_port_leaves_its_server(cloud, api, node, two_ports):
    """Guest, switch and addresses lose it; the other port stays, and all of them when it is
    deleted."""
    server, port = two_ports
    api.delete_port(port["id"])

    wait_for(
        "the end of the interface",
        lambda: is_rid_of(cloud, api, node, server, port),
        DETACH_SECONDS,
    )

    assert len(interfaces(cloud, node, server)) == 1
    assert api.server(server)["status"] == "ACTIVE"
    api.delete(server)
    api.wait_gone(server)
    assert interfaces(cloud, node, server) == []


def test_a_hard_reboot_at_once_and_a_delete(cloud, api, node, two_ports):
    """Whoever is first, the event or the reboot."""
    server, port = two_ports
    api.delete_port(port["id"])
    api.act(server, "reboot", {"type": "HARD"})
    api.wait_status(server, "ACTIVE", DETACH_SECONDS)

    wait_for(
        "the end of the interface",
        lambda: is_rid_of(cloud, api, node, server, port),
        DETACH_SECONDS,
    )
    api.delete(server)
    api.wait_gone(server)
    assert interfaces(cloud, node, server) == []


def test_a_server_that_is_off(cloud, api, node, two_ports):
    """Its definition loses the interface, or its next start does; then it is deleted."""
    server, port = two_ports
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF")
    api.delete_port(port["id"])
    wait_for("one address", lambda: len(addresses(api, server)) == 1, 60)

    api.delete(server)
    api.wait_gone(server)
    assert interfaces(cloud, node, server) == []


@pytest.mark.lite_only
@pytest.mark.parametrize("verb", ["delete", "reboot", "start"])
def test_a_port_that_was_deleted_while_no_agent_ran(cloud, api, node, two_ports, verb):
    """The event waits at the broker; whatever is done with the server comes to the same end."""
    server, port = two_ports
    if verb == "start":
        api.act(server, "os-stop")
        api.wait_status(server, "SHUTOFF")
    cloud.agent(node).kill()
    api.delete_port(port["id"])
    cloud.restart_agent(node)

    if verb == "reboot":
        api.act(server, "reboot", {"type": "HARD"})
    elif verb == "start":
        api.act(server, "os-start")
    if verb != "delete":
        api.wait_status(server, "ACTIVE", DETACH_SECONDS)
        wait_for(
            "the end of the interface",
            lambda: is_rid_of(cloud, api, node, server, port),
            DETACH_SECONDS,
        )
    api.delete(server)
    api.wait_gone(server)
    assert interfaces(cloud, node, server) == []
