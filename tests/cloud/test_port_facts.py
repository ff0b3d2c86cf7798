"""Addresses of ports, and what Placement has of them, while their server lives."""

from __future__ import annotations

import json

import pytest

from tests.cloud.support.devcloud import CloudError, wait_for

pytestmark = pytest.mark.cloud

OLD = "2.43"  # the last microversion with addFixedIp
EGRESS = "NET_BW_EGR_KILOBIT_PER_SEC"


def shown(api, server):
    """The addresses that ``server show`` has."""
    found = api.server(server)["addresses"]
    return {address["addr"] for group in found.values() for address in group}


def in_neutron(api, server):
    return {ip["ip_address"] for port in api.ports(server) for ip in port["fixed_ips"]}


def change(api, server, **action):
    api.rest(api.compute, "POST", f"/servers/{server}/action", action, microversion=OLD)


@pytest.mark.core
def test_an_address_is_added_and_removed(api, server):
    """The API shows what Neutron has; a second request adds another one."""
    server = server["id"]
    (first,) = in_neutron(api, server)
    for count in (2, 3):
        change(api, server, addFixedIp={"networkId": api.network_id("private")})
        wait_for(f"{count} addresses", lambda n=count: len(shown(api, server)) == n, 30)
        assert shown(api, server) == in_neutron(api, server)
    for address in sorted(shown(api, server) - {first}):
        change(api, server, removeFixedIp={"address": address})
        wait_for("one less", lambda gone=address: gone not in shown(api, server), 30)
    assert shown(api, server) == in_neutron(api, server) == {first}
    assert api.server(server)["status"] == "ACTIVE"


def test_what_cannot_be_added_or_removed_changes_nothing(api, server, node, cloud):
    """The log of the agent says why; the server stays as it is."""
    server = server["id"]
    before = in_neutron(api, server)
    change(api, server, removeFixedIp={"address": "192.0.2.77"})
    change(api, server, addFixedIp={"networkId": api.network_id("public")})
    log = cloud.agent_log(node)
    wait_for("both refusals", lambda: all(
        f"{words}" in log.read_text(errors="replace")[-200_000:]
        for words in (f"Instance {server} does not have fixed IP '192.0.2.77'",
                      f"Network could not be found for instance {server}")
    ), 60)  # fmt: skip
    assert in_neutron(api, server) == shown(api, server) == before
    found = api.server(server)
    assert (found["status"], found["OS-EXT-STS:task_state"]) == ("ACTIVE", None)


@pytest.mark.alone
def test_a_lost_cache_comes_back_after_a_start(api, boot, cloud, node):
    """Nobody sends an event: the comparison after the start finds it."""
    server = boot()["id"]
    before = shown(api, server)
    cloud.sql(f"UPDATE instance_info_caches SET network_info='[]' WHERE instance_uuid='{server}'")
    assert shown(api, server) == set()
    cloud.restart_agent(node)
    wait_for("its addresses", lambda: shown(api, server) == before, 90)


# --- guaranteed rates --------------------------------------------------------------------------
@pytest.fixture
def interface(api, cloud, node):
    """The resource provider of the host's way to the physical network."""
    root = cloud.provider(node)
    rows = api.placement_get(f"/resource_providers?in_tree={root}")["resource_providers"]
    for row in rows:
        path = f"/resource_providers/{row['uuid']}/inventories"
        if EGRESS in api.placement_get(path)["inventories"]:
            return row["uuid"]
    pytest.skip(f"{node} guarantees no bandwidth: GUARANTEED_KBPS=1000000 devstack/cloud up")


@pytest.fixture
def rated(api, garbage):
    """Makes ports with 1000 kbit/s guaranteed."""
    body = {"policy": {"name": "nlt-rate"}}
    policy = api.rest(api.network, "POST", "/qos/policies", body)["policy"]["id"]
    garbage.later(lambda: api.rest(api.network, "DELETE", f"/qos/policies/{policy}"))
    rule = {"minimum_bandwidth_rule": {"min_kbps": 1000, "direction": "egress"}}
    api.rest(api.network, "POST", f"/qos/policies/{policy}/minimum_bandwidth_rules", rule)

    def make():
        port = api.create_port(qos_policy_id=policy)
        garbage.later(lambda: api.delete_port(port["id"]))
        return port["id"]

    return make


def profile(api, port):
    return api.rest(api.network, "GET", f"/ports/{port}")["port"]["binding:profile"]


def test_a_port_gets_its_rate_and_gives_it_back(api, boot, cloud, node, interface, rated):
    """From the boot to the delete, and one more by an attach."""
    first, second = rated(), rated()
    server = boot(networks=[{"port": first}])["id"]
    assert list(profile(api, first)["allocation"].values()) == [interface]
    assert api.allocations(server)[interface]["resources"] == {EGRESS: 1000}

    request = {"interfaceAttachment": {"port_id": second}}
    api.call("POST", f"/servers/{server}/os-interface", request)
    assert list(profile(api, second)["allocation"].values()) == [interface]
    assert api.allocations(server)[interface]["resources"] == {EGRESS: 2000}
    api.call("DELETE", f"/servers/{server}/os-interface/{second}", ok=False)
    wait_for("the second port", lambda: "allocation" not in profile(api, second), 200)
    wait_for(
        "its share", lambda: api.allocations(server)[interface]["resources"] == {EGRESS: 1000}, 30
    )

    api.delete(server)
    api.wait_gone(server)
    assert profile(api, first) == {}
    assert api.allocations(server) == {}


def test_a_network_with_a_rate_is_refused(api, node, garbage, interface, rated):
    """Nobody has scheduled what a port made on it would ask for."""
    rated()
    (policy,) = api.rest(api.network, "GET", "/qos/policies?name=nlt-rate")["policies"]
    body = {"network": {"name": "nlt-rate", "qos_policy_id": policy["id"]}}
    network = api.rest(api.network, "POST", "/networks", body)["network"]["id"]
    garbage.later(lambda: api.rest(api.network, "DELETE", f"/networks/{network}"))
    subnet = {"network_id": network, "cidr": "10.98.0.0/24", "ip_version": 4}
    api.rest(api.network, "POST", "/subnets", {"subnet": subnet})
    server = api.request_boot(node, networks=[{"uuid": network}])
    garbage.server(server["id"])
    with pytest.raises(CloudError):
        api.wait_status(server["id"], "ACTIVE", 120)
    assert "QoS policy" in json.dumps(api.server(server["id"])["fault"])
