"""Interfaces attached to servers that exist, and detached, and what all ledgers say of them."""

from __future__ import annotations

import json
import re
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cloud.support.devcloud import CloudError, wait_for
from tests.cloud.support.trials import Trial

pytestmark = pytest.mark.cloud

DETACH_SECONDS = 200  # a guest that boots does not heed the request, and is asked again
SAMPLE = {"attach": 3, "detach": 3}
NAME = "nlt-interfaces"
# The guest tells on its console what the metadata service says of its devices, now and then.
SCRIPT = """#!/bin/sh
(while sleep 3; do
    wget -qO- http://169.254.169.254/openstack/latest/meta_data.json >/tmp/meta &&
        echo "$(sed 's/.*"devices": /DEVICES /' /tmp/meta | cut -c1-600)"
done) >/dev/console 2>&1 &
"""


class Interfaces:
    """The interfaces of servers on one host, by all who know of them."""

    def __init__(self, cloud, api, node) -> None:
        self._cloud, self._api, self._node = cloud, api, node

    def attach(self, server, **request):
        """The response to an attach."""
        path = f"/servers/{server}/os-interface"
        return self._api.call("POST", path, {"interfaceAttachment": request}, ok=False)

    def attached(self, server, **request):
        """The port that was attached."""
        response = self.attach(server, **request)
        assert response.status_code == 200, response.text
        return response.json()["interfaceAttachment"]["port_id"]

    def detach(self, server, port):
        response = self._api.call("DELETE", f"/servers/{server}/os-interface/{port}", ok=False)
        assert response.status_code == 202, response.text

    def detached(self, server, port, result="Success"):
        """Detach, and wait for the end; the event."""
        self.detach(server, port)
        event = self.ended(server, "detach_interface", DETACH_SECONDS)
        assert event["result"] == result, event
        return event

    def ended(self, server, action, seconds=60):
        """The event of the newest such action, when it is over."""
        return wait_for(
            f"end of {action}",
            lambda: next(
                (e for e in self._api.events(server, action) if e["result"]), None
            ),
            seconds,
        )  # fmt: skip

    def look(self, server):
        """Port ids, or their MAC addresses, or their addresses, as each ledger has them."""
        api, cloud, node = self._api, self._cloud, self._node
        ports = {row["id"]: row for row in api.ports(server)}
        listed = api.call("GET", f"/servers/{server}/os-interface")["interfaceAttachments"]
        addresses = {
            address["addr"] for found in api.server(server)["addresses"].values()
            for address in found if address["OS-EXT-IPS:type"] == "fixed"
        }  # fmt: skip
        by_mac = {row["mac_address"]: row["id"] for row in ports.values()}
        by_ip = {
            row["fixed_ips"][0]["ip_address"]: row["id"] for row in ports.values()
        }
        records = cloud.sql(
            f"select uuid from virtual_interfaces where deleted = 0 and instance_uuid = '{server}'"
        ).split()
        return {
            "neutron": set(ports),
            "bound here": {
                row["id"] for row in ports.values() if row["binding:host_id"] == node
            },
            "listed": {interface["port_id"] for interface in listed},
            "addresses": {by_ip.get(address, address) for address in addresses},
            "records": set(records),
            "switch": self._switch(server),
            "now": {by_mac.get(mac, mac) for mac in self._macs(server)},
            "next": {by_mac.get(mac, mac) for mac in self._macs(server, "--inactive")},
        }

    def agree(self, server, count, *, running=True):
        """Wait until all know of so many interfaces, and of the same ones; their ids.

        :param running: whether there is a guest that has them now
        """

        def look():
            seen = self.look(server)
            if not running:
                del seen["now"]
            found = set(map(frozenset, seen.values()))
            return found.pop() if len(found) == 1 and len(seen["neutron"]) == count else None

        try:
            return wait_for(f"{count} interfaces everywhere", look, 60)
        except CloudError as error:
            raise CloudError(f"{error}: {self.look(server)}") from None

    def _switch(self, server):
        table = json.loads(
            self._cloud.on(self._node, "ovs-vsctl", "--format=json", "--columns=external_ids",
                           "list", "Interface")
        )  # fmt: skip
        found = [dict(map(tuple, pairs)) for ((_, pairs),) in table["data"]]
        return {ids["iface-id"] for ids in found if ids.get("vm-uuid") == server}

    def _macs(self, server, *options):
        text = self._cloud.on(self._node, "virsh", "dumpxml", server, *options)
        return [mac.get("address") for mac in ET.fromstring(text).findall("devices/interface/mac")]


@pytest.fixture(scope="module")
def interfaces(cloud, api, node):
    return Interfaces(cloud, api, node)


@pytest.fixture(scope="module")
def private(api):
    return api.network_id("private")


@pytest.fixture
def port(api, garbage):
    """A port of the user's own."""
    made = api.create_port()
    garbage.later(lambda: api.delete_port(made["id"]))
    return made


@pytest.fixture
def up(api, boot):
    """A server whose guest is up."""
    server = boot()["id"]
    api.wait_console(server, "TINY: ready")
    return server


def rest_of(api, port):
    """A port that was attached, by itself."""
    return api.rest(api.network, "GET", f"/ports/{port['id']}")["port"]


def told(api, server, port):
    """The guest has found the card, and has the port's address on it."""
    api.wait_console(server, port["mac_address"])
    api.wait_console(server, f"TINY: ip {port['fixed_ips'][0]['ip_address']}")


# --- attach and detach --------------------------------------------------------------------------
@pytest.mark.core
@pytest.mark.parametrize("kind", ["network", "port", "address"])
def test_an_interface_comes_and_goes(api, interfaces, private, port, up, kind):
    """The guest has it with its address; what was made for it is deleted, the user's port stays."""
    request = {"network": {"net_id": private}, "port": {"port_id": port["id"]}}.get(kind)
    if kind == "address":
        address = port["fixed_ips"][0]["ip_address"]
        api.delete_port(port["id"])
        request = {"net_id": private, "fixed_ips": [{"ip_address": address}]}

    attached = interfaces.attached(up, **request)

    assert attached in interfaces.agree(up, 2)
    (row,) = [row for row in api.ports(up) if row["id"] == attached]
    assert row["device_owner"].startswith("compute:")
    assert row["name"] == (port["name"] if kind == "port" else "")
    if kind == "address":
        assert row["fixed_ips"][0]["ip_address"] == address
    told(api, up, row)
    wait_for("port ACTIVE", lambda: {p["status"] for p in api.ports(up)} == {"ACTIVE"}, 60)
    assert interfaces.ended(up, "attach_interface")["result"] == "Success"

    interfaces.detached(up, attached)

    assert attached not in interfaces.agree(up, 1)
    assert re.search(r"TINY: nic \w+ gone", api.wait_console(up, " gone"))
    left = api.rest(api.network, "GET", f"/ports?id={attached}")["ports"]
    assert [p["device_id"] for p in left] == ([""] if kind == "port" else [])
    assert api.server(up)["status"] == "ACTIVE"


@pytest.mark.parametrize("kind", ["network", "port"])
def test_a_stopped_server(api, interfaces, private, port, up, kind):
    """It starts with the interface, and without the one that was detached."""
    api.act(up, "os-stop")
    api.wait_status(up, "SHUTOFF")
    attached = interfaces.attached(
        up, **({"net_id": private} if kind == "network" else {"port_id": port["id"]})
    )
    assert attached in interfaces.agree(up, 2, running=False)

    api.act(up, "os-start")
    api.wait_status(up, "ACTIVE")
    assert attached in interfaces.agree(up, 2)
    api.act(up, "os-stop")
    api.wait_status(up, "SHUTOFF")
    interfaces.detached(up, attached)

    interfaces.agree(up, 1, running=False)


def test_a_paused_server(api, interfaces, private, up):
    """It finds the interface when it goes on; it can give one back only then."""
    api.act(up, "pause")
    api.wait_status(up, "PAUSED")
    attached = interfaces.attached(up, net_id=private)
    assert attached in interfaces.agree(up, 2)

    interfaces.detached(up, attached, "Error")

    api.act(up, "unpause")
    api.wait_status(up, "ACTIVE")
    assert attached in interfaces.agree(up, 2)
    (row,) = [row for row in api.ports(up) if row["id"] == attached]
    told(api, up, row)
    interfaces.detached(up, attached)
    interfaces.agree(up, 1)


def test_a_hard_reboot_and_a_delete(api, interfaces, private, port, up):
    """Attached ports are as those of the boot: also the user's own outlives its server."""
    made = interfaces.attached(up, net_id=private)
    interfaces.attached(up, port_id=port["id"])

    api.act(up, "reboot", {"type": "HARD"})
    api.wait_status(up, "ACTIVE")
    assert {made, port["id"]} < interfaces.agree(up, 3)
    api.delete(up)
    api.wait_gone(up)

    assert rest_of(api, port)["device_id"] == ""
    assert api.rest(api.network, "GET", f"/ports?id={made}")["ports"] == []


def test_a_tag_reaches_the_guest(api, boot, interfaces, private):
    """The metadata service tells it of the card, and no more when that is gone."""
    server = boot(image="tiny-pc", user_data=SCRIPT)["id"]
    api.wait_console(server, "TINY: ready")

    attached = interfaces.attached(server, net_id=private, tag="back")

    console = api.wait_console(server, "DEVICES [{")
    line = next(text for text in console.splitlines() if "DEVICES [{" in text)
    devices, _ = json.JSONDecoder().raw_decode(line.partition("DEVICES ")[2])
    (nic,) = devices
    (row,) = [row for row in api.ports(server) if row["id"] == attached]
    assert (nic["type"], nic["tags"], nic["mac"]) == ("nic", ["back"], row["mac_address"])
    assert (nic["bus"], nic["address"][:5]) == ("pci", "0000:")
    interfaces.detached(server, attached)
    wait_for(
        "no tagged device", lambda: "DEVICES []" in api.console(server).splitlines()[-1], 60
    )


# --- what cannot be -----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bare(api, module_garbage):
    """A network without a subnet."""
    return make_network(api, module_garbage)


@pytest.fixture(scope="module")
def full(api, module_garbage):
    """A network whose addresses are all taken."""
    network = make_network(api, module_garbage)
    body = {"network_id": network, "ip_version": 4, "cidr": "10.77.0.0/29", "gateway_ip": None,
            "allocation_pools": [{"start": "10.77.0.2", "end": "10.77.0.4"}]}  # fmt: skip
    api.rest(api.network, "POST", "/subnets", {"subnet": body})
    taken = []
    module_garbage.later(lambda: [api.delete_port(port) for port in taken])
    for _ in range(4):
        try:
            taken.append(api.create_port(network_id=network)["id"])
        except CloudError:
            break
    return network


def make_network(api, module_garbage):
    network = api.rest(api.network, "POST", "/networks", {"network": {"name": NAME}})["network"]
    module_garbage.later(
        lambda: api.network.request(f"/networks/{network['id']}", "DELETE", raise_exc=False)
    )
    return network["id"]


@pytest.fixture
def others(api, boot):
    """A port that another server has."""
    return api.ports(boot()["id"])[0]


def unknown_port(request):
    return {"port_id": "99999999-b410-41e7-af51-fddb339207ce"}, 404


def unknown_network(request):
    return {"net_id": "99999999-b410-41e7-af51-fddb339207ce"}, 404


def port_of_another(request):
    return {"port_id": request.getfixturevalue("others")["id"]}, 409


def its_own_port(request):
    api, server = request.getfixturevalue("api"), request.getfixturevalue("server")
    return {"port_id": api.ports(server["id"])[0]["id"]}, 409


def address_in_use(request):
    api, server = request.getfixturevalue("api"), request.getfixturevalue("server")
    address = api.ports(server["id"])[0]["fixed_ips"][0]["ip_address"]
    private = request.getfixturevalue("private")
    return {"net_id": private, "fixed_ips": [{"ip_address": address}]}, 409


def no_more_addresses(request):
    return {"net_id": request.getfixturevalue("full")}, 400


def no_subnet(request):
    return {"net_id": request.getfixturevalue("bare")}, 400


def nothing_named(request):
    request.getfixturevalue("bare")  # there is more than one network
    return {}, 400


@pytest.mark.parametrize(
    "ask",
    [
        unknown_port, unknown_network, port_of_another, its_own_port, address_in_use,
        no_more_addresses, no_subnet, nothing_named,
    ],
)  # fmt: skip
def test_bad_input(api, interfaces, server, request, ask):
    """Refused with the code that stock has; the server keeps what it has, and nothing is made."""
    asked, status = ask(request)
    before = interfaces.look(server["id"])

    response = interfaces.attach(server["id"], **asked)

    assert response.status_code == status, response.text
    assert interfaces.look(server["id"]) == before
    if ask is not unknown_port:  # nova-api itself looks for that one
        assert interfaces.ended(server["id"], "attach_interface")["result"] == "Error"
    assert api.server(server["id"])["status"] == "ACTIVE"


@pytest.mark.lite_only
def test_an_address_of_another_network(interfaces, server, private):
    """Stock answers with an unexpected error."""
    response = interfaces.attach(
        server["id"], net_id=private, fixed_ips=[{"ip_address": "192.0.2.1"}]
    )

    assert response.status_code == 400, response.text
    assert "192.0.2.1" in response.text


def test_a_port_that_is_not_attached(interfaces, server, port):
    """The request is taken, and its event says why it failed."""
    before = interfaces.look(server["id"])

    interfaces.detached(server["id"], port["id"], "Error")

    assert interfaces.look(server["id"]) == before


# --- killed -------------------------------------------------------------------------------------
@pytest.mark.lite_only
@pytest.mark.core
@pytest.mark.timeout(1500)
def test_killed_anywhere(api, interfaces, private, agent, choose, ledger, up):
    """Wherever an attach or a detach is cut off, all ledgers agree in the end."""
    agent.boundaries()
    first = interfaces.attached(up, net_id=private)
    time.sleep(1)
    attach = [name for name in agent.boundaries() if name.startswith("attach_interface")]
    interfaces.detached(up, first)
    time.sleep(1)
    detach = [name for name in agent.boundaries() if name.startswith("detach_interface")]
    trial = Trial(ledger, agent)

    def cut_off_attach(boundary):
        agent.arm(boundary)
        with ThreadPoolExecutor(1) as waiting:
            # The API waits for the answer of an agent that is dead, up to a minute.
            waiting.submit(interfaces.attach, up, net_id=private)
            agent.wait_dead()
            agent.start()
        (made,) = interfaces.agree(up, 2) - {own}
        interfaces.detached(up, made)
        interfaces.agree(up, 1)

    def cut_off_detach(boundary):
        made = interfaces.attached(up, net_id=private)
        agent.arm(boundary)
        interfaces.detach(up, made)
        agent.wait_dead()
        agent.start()
        interfaces.ended(up, "detach_interface", DETACH_SECONDS)
        interfaces.agree(up, 1)

    (own,) = interfaces.agree(up, 1)
    for boundary in choose("attach", attach, SAMPLE["attach"]):
        trial.run(boundary, lambda boundary=boundary: cut_off_attach(boundary))
    for boundary in choose("detach", detach, SAMPLE["detach"]):
        trial.run(boundary, lambda boundary=boundary: cut_off_detach(boundary))
    trial.verdict()
