"""External events of Neutron: what users see of their server's addresses."""

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud


def addresses(api, server):
    found = api.server(server)["addresses"]
    return {address["addr"] for group in found.values() for address in group}


@pytest.mark.core
def test_a_changed_port_shows_in_the_server(api, server):
    """An address added to a port behind Nova's back shows in ``server show``, and goes again."""
    (port,) = api.ports(server["id"])
    old = [{"subnet_id": ip["subnet_id"], "ip_address": ip["ip_address"]}
           for ip in port["fixed_ips"]]  # fmt: skip
    more = [*old, {"subnet_id": old[0]["subnet_id"]}]
    changed = api.rest(api.network, "PUT", f"/ports/{port['id']}", {"port": {"fixed_ips": more}})[
        "port"
    ]
    wanted = {ip["ip_address"] for ip in changed["fixed_ips"]}
    assert len(wanted) == 2
    tell(api, server, port)
    wait_for("second address", lambda: addresses(api, server["id"]) == wanted, 30)
    api.rest(api.network, "PUT", f"/ports/{port['id']}", {"port": {"fixed_ips": old}})
    tell(api, server, port)
    wait_for("one address", lambda: addresses(api, server["id"]) == {old[0]["ip_address"]}, 30)


def tell(api, server, port):
    """The event as Neutron sends it; not every kind of change makes it send one."""
    event = {"name": "network-changed", "server_uuid": server["id"], "tag": port["id"]}
    answer = api.call("POST", "/os-server-external-events", {"events": [event]})
    assert answer["events"][0]["code"] == 200


def test_a_floating_ip_shows_by_itself(api, server, garbage):
    """Associating a floating IP is Neutron's affair alone; the server shows it all the same."""
    (port,) = api.ports(server["id"])
    body = {"floatingip": {"floating_network_id": api.network_id("public"), "port_id": port["id"]}}
    floating = api.rest(api.network, "POST", "/floatingips", body)["floatingip"]
    garbage.later(lambda: api.rest(api.network, "DELETE", f"/floatingips/{floating['id']}"))
    wait_for(
        "floating IP in the server",
        lambda: floating["floating_ip_address"] in addresses(api, server["id"]),
        30,
    )


def test_an_event_nobody_waits_for_does_no_harm(api, server):
    """A late network-vif-plugged and one of an unknown port leave the server as it is."""
    (port,) = api.ports(server["id"])
    events = [
        {"name": "network-vif-plugged", "server_uuid": server["id"], "tag": tag,
         "status": "completed"}
        for tag in (port["id"], "00000000-0000-4000-8000-000000000000")
    ]  # fmt: skip
    api.call("POST", "/os-server-external-events", {"events": events})
    api.act(server["id"], "reboot", {"type": "HARD"})
    assert api.wait_status(server["id"], "ACTIVE")["status"] == "ACTIVE"
