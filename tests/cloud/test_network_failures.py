"""Networks that cannot work: a clear fault, nothing left, and the user's ports as they were."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.networks import addresses

pytestmark = pytest.mark.cloud

NEUTRON_PORT = 9696
SLOW = 12  # seconds
PLUG_TIMEOUT = 8  # seconds
MAPPINGS = "external-ids:ovn-bridge-mappings"


@pytest.fixture
def leaf(cloud):
    """A host that is no gateway: others get on without its networks."""
    return cloud.nodes()[-1]


def boot_result(api, garbage, node, networks, **more):
    """The server, ACTIVE or in ERROR."""
    server = api.request_boot(node, networks=networks, **more)["id"]
    garbage.server(server)
    return api.wait_status(server, ("ERROR", "ACTIVE"), 200)


def fault_of(api, garbage, node, networks, **more):
    """What users are told of a boot that must fail; it leaves no port, address or allocation."""
    found = boot_result(api, garbage, node, networks, **more)
    assert found["status"] == "ERROR"
    assert found["addresses"] == {}
    given = {network["port"] for network in networks if "port" in network}
    assert {port["id"] for port in api.ports(found["id"])} <= given
    wait_for("no allocation", lambda: not api.allocations(found["id"]), 30)
    return found["fault"]["message"]


def is_free(neutron, port):
    """Whether a user's port is as it was before the boot."""
    found = neutron.call("GET", f"/ports/{port['id']}")["port"]
    return (found["device_id"], found["device_owner"], found["binding:host_id"]) == ("", "", "")


@pytest.mark.core
def test_no_address_is_left(api, node, garbage, neutron):
    """The fault names the network; a port that was good is given back."""
    full = neutron.network()
    pool = [{"start": "10.72.0.3", "end": "10.72.0.3"}]
    neutron.subnet(full, "10.72.0.0/29", allocation_pools=pool, enable_dhcp=False)
    neutron.port(full)
    good = neutron.port(neutron.network("10.73.0.0/24"))

    fault = fault_of(api, garbage, node, [{"port": good["id"]}, {"uuid": full}])

    assert f"No fixed IP addresses available for network: {full}" in fault
    wait_for("the good port", lambda: is_free(neutron, good), 30)


def test_an_address_outside_of_the_network(api, node, garbage, neutron):
    """The fault names address and network."""
    network = neutron.network("10.74.0.0/24")
    wanted = [{"uuid": network, "fixed_ip": "10.99.0.9"}]
    fault = fault_of(api, garbage, node, wanted)
    assert f"Fixed IP 10.99.0.9 is not a valid ip address for network {network}" in fault


def test_groups_where_there_is_no_port_security(api, node, garbage, neutron):
    """Such a network takes servers without groups only."""
    network = neutron.network("10.75.0.0/24", port_security_enabled=False)
    group = neutron.group("refused")
    asked = [{"uuid": network}]
    fault_of(api, garbage, node, asked, security_groups=[{"name": group["name"]}])
    found = boot_result(api, garbage, node, asked)
    assert (found["status"], len(addresses(found))) == ("ACTIVE", 1)


def test_a_port_with_the_name_of_another_server(api, node, garbage, neutron):
    """Neutron's name of the port would be a lie; the port keeps it and is given back."""
    port = neutron.port(neutron.network("10.76.0.0/24"), dns_name="somebody-else")
    fault_of(api, garbage, node, [{"port": port["id"]}])
    wait_for("the port", lambda: is_free(neutron, port), 30)
    assert neutron.call("GET", f"/ports/{port['id']}")["port"]["dns_name"] == "somebody-else"


def test_a_port_that_was_bound_to_another_host(api, node, cloud, garbage, neutron):
    """A binding without a server is nobody's: the port comes here."""
    binding = {"binding:host_id": cloud.other_node(node)}
    port = neutron.port(neutron.network("10.77.0.0/24"), **binding)
    assert boot_result(api, garbage, node, [{"port": port["id"]}])["status"] == "ACTIVE"
    found = neutron.call("GET", f"/ports/{port['id']}")["port"]
    assert (found["binding:host_id"], found["status"]) == (node, "ACTIVE")


def test_a_port_that_is_administratively_down(api, node, garbage, neutron):
    """It never becomes active, and the boot does not wait for that."""
    port = neutron.port(neutron.network("10.78.0.0/24"), admin_state_up=False)
    assert boot_result(api, garbage, node, [{"port": port["id"]}])["status"] == "ACTIVE"


@contextlib.contextmanager
def without_physical_network(cloud, node):
    """For a while no network of the provider reaches this host."""
    switch = ("Open_vSwitch", ".")
    mapped = cloud.on(node, "ovs-vsctl", "get", *switch, MAPPINGS).strip()
    cloud.on(node, "ovs-vsctl", "set", *switch, f'{MAPPINGS}=""')
    try:
        yield
    finally:
        cloud.on(node, "ovs-vsctl", "set", *switch, f"{MAPPINGS}={mapped}")


def test_a_network_that_the_host_does_not_have(api, cloud, leaf, garbage, neutron):
    """Neutron cannot bind the port there: the boot fails, the user's port is given back."""
    network = neutron.network("10.79.0.0/24")
    port = neutron.port(network)
    with without_physical_network(cloud, leaf):
        wait_for("Neutron's notice", lambda: not can_bind(neutron, network, leaf), 60)
        for asked in ({"uuid": network}, {"port": port["id"]}):
            fault = fault_of(api, garbage, leaf, [asked])
            assert "Exceeded maximum number of retries" in fault
        wait_for("the port", lambda: is_free(neutron, port), 30)


def can_bind(neutron, network, host):
    """Whether Neutron binds a port of a network on a host."""
    body = {"port": {"network_id": network, "binding:host_id": host}}
    port = neutron.call("POST", "/ports", body)["port"]
    neutron.call("DELETE", f"/ports/{port['id']}")
    return port["binding:vif_type"] != "binding_failed"


@contextlib.contextmanager
def frozen_ovn(cloud, node):
    """For a while nothing is wired up on this host; what is stays."""
    signal = "kill -{} $(cat /run/ovn/ovn-controller.pid)"
    cloud.on(node, "sh", "-c", signal.format("STOP"))
    try:
        yield
    finally:
        cloud.on(node, "sh", "-c", signal.format("CONT"))


@pytest.mark.parametrize("fatal", [True, False])
def test_a_port_is_never_plugged(api, cloud, leaf, garbage, neutron, fatal):
    """With vif_plugging_is_fatal the boot fails and leaves nothing, without it the guest starts."""
    port = neutron.port(neutron.network("10.80.0.0/24"))
    asked = [{"port": port["id"]}]
    lines = f"[DEFAULT]\nvif_plugging_timeout = {PLUG_TIMEOUT}\nvif_plugging_is_fatal = {fatal}"
    with cloud.options(leaf, lines), frozen_ovn(cloud, leaf):
        if fatal:
            fault = fault_of(api, garbage, leaf, asked)
            assert "Failed to allocate the network(s), not rescheduling" in fault
            wait_for("the port", lambda: is_free(neutron, port), 30)
        else:
            found = boot_result(api, garbage, leaf, asked)
            assert found["status"] == "ACTIVE"
            assert addresses(found) == [port["fixed_ips"][0]["ip_address"]]
            assert neutron.call("GET", f"/ports/{port['id']}")["port"]["status"] == "DOWN"
            api.wait_console(found["id"], "TINY: booted")
    garbage.empty()  # while ovn-controller works again


@pytest.mark.lite_only
def test_neutron_is_away_during_a_boot(api, cloud, node, garbage, neutron):
    """The boot goes on when Neutron is back, and has one port."""
    network = neutron.network("10.81.0.0/24")
    with cloud.unreachable(node, NEUTRON_PORT):
        server = api.request_boot(node, networks=[{"uuid": network}])["id"]
        garbage.server(server)
        wait_for(
            "the boot",
            lambda: api.server(server)["OS-EXT-STS:task_state"] == "networking",
            60,
        )
    assert api.wait_status(server, "ACTIVE", 200)["addresses"]
    assert len(api.ports(server)) == 1


@pytest.mark.lite_only
@pytest.mark.parametrize("patience", [None, 3], ids=["default", "3 s"])
def test_neutron_is_slow(api, cloud, node, garbage, neutron, patience):
    """A boot and an attachment wait for it or, where nova.conf says so, ask again: for one port."""
    first, second = neutron.network("10.82.0.0/24"), neutron.network("10.83.0.0/24")
    options = f"[neutron]\ntimeout = {patience}" if patience else ""
    with cloud.options(node, options) if patience else contextlib.nullcontext():
        with cloud.unheard(node, NEUTRON_PORT):
            server = api.request_boot(node, networks=[{"uuid": first}])["id"]
            garbage.server(server)
            time.sleep(SLOW)
        assert len(addresses(api.wait_status(server, "ACTIVE", 200))) == 1

        with ThreadPoolExecutor(1) as threads:
            with cloud.unheard(node, NEUTRON_PORT):
                body = {"interfaceAttachment": {"net_id": second}}
                answer = threads.submit(api.call, "POST", f"/servers/{server}/os-interface", body)
                time.sleep(SLOW)
        assert answer.result()["interfaceAttachment"]["net_id"] == second
        assert len(addresses(api.server(server))) == len(api.ports(server)) == 2
    garbage.empty()
