"""Ports that a user gives to a server outlive it, whatever becomes of the server."""

from __future__ import annotations

import pytest

from nova_lite.engine import patience
from nova_lite.errors import HypervisorError, NetworkUnavailable
from tests.fakes.http_cloud import Reply
from tests.fakes.neutron_host import NETWORK, PROJECT, wired_up
from tests.fakes.one_host import IMAGE, boot_arguments

LATER = "2027-01-01T00:00:00Z"


@pytest.fixture
def host(tmp_path):
    with wired_up(tmp_path) as host:
        yield host


def arguments(*entries):
    """A boot with these networks and ports, in this order."""
    asked = boot_arguments()
    networks = asked["requested_networks"]["nova_object.data"]
    (row,) = networks["objects"]
    networks["objects"] = [
        {**row, "nova_object.data": {**row["nova_object.data"], "network_id": None, **entry}}
        for entry in entries
    ]
    return asked


def build(host, *entries, retry=False):
    """Have it built here, whatever the end; its uuid.

    :param retry: whether there is a next host, which gets to know the reason instead of the user
    """
    server, asked = host.schedule(), arguments(*entries)
    if not retry:
        asked["filter_properties"] = {}
    host.send("build_and_run_instance", server, **asked)
    host.settle()
    return server


def boot(host, *entries):
    server = build(host, *entries)
    assert host.row(server) == ("host1", "active", None, 1)
    with host.conductor.database() as tables:
        row = boot_arguments()["block_device_mapping"]["nova_object.data"]["objects"][0]
        tables["BlockDeviceMapping"] = {"1": {**row["nova_object.data"], "instance_uuid": server}}
    return server


def given_and_made(host):
    """A server with a port of the user and one that was made for it; both ports."""
    given = host.service.port(host.network)
    server = boot(host, {"port_id": given["id"]}, {"network_id": NETWORK})
    (made,) = [row for row in host.service.ports_of(server) if row is not given]
    made["created_at"] = LATER  # than the server
    return server, given, made


def do(host, server, method, task_state, **arguments):
    host.conductor.set(server, task_state=task_state)
    host.send(method, server, **arguments)
    host.settle()


def delete(host, server):
    do(host, server, "terminate_instance", "deleting", bdms=None)
    assert host.conductor.instance(server)["deleted"]


def free(port):
    """What a port is that its user can give to another server."""
    bound = (port["device_id"], port["device_owner"], port["binding:vif_type"])
    return bound == ("", "", "unbound") and port["binding:profile"] == {}


def ports(host):
    return {row["id"] for row in host.service.rows["ports"]}


# --- the life of a server ----------------------------------------------------------------------
def test_a_delete_leaves_the_given_port_and_takes_the_made_one(host):
    server, given, made = given_and_made(host)
    delete(host, server)

    assert (free(given), ports(host)) == (True, {given["id"]})


@pytest.mark.parametrize("retry", [True, False])
def test_a_boot_that_fails_gives_it_back(host, retry):
    """To the next host, which binds it itself, or to its user."""
    given = host.service.port(host.network)
    host.hypervisor.fail("define", HypervisorError("no memory"))
    server = build(host, {"port_id": given["id"]}, {"network_id": NETWORK}, retry=retry)

    assert (free(given), ports(host)) == (True, {given["id"]})
    assert host.row(server)[1] == ("building" if retry else "error")


def test_an_offloaded_server_keeps_it_bound_to_no_host(host):
    """And the next unshelve binds it; the delete gives it back."""
    server, given, made = given_and_made(host)
    do(host, server, "shelve_offload_instance", "shelving_offloading", clean_shutdown=False)
    assert {(p["device_id"], p["binding:vif_type"]) for p in (given, made)} == {
        (server, "unbound")
    }

    do(host, server, "unshelve_instance", "unshelving", image={"id": IMAGE, "properties": {}},
       filter_properties={}, node="node", request_spec=None)  # fmt: skip
    assert {p["binding:host_id"] for p in (given, made)} == {"host1"}
    delete(host, server)
    assert (free(given), ports(host)) == (True, {given["id"]})


@pytest.mark.parametrize("text", ["[]", "not JSON"])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_lost_cache_does_not_cost_the_user_a_port(host, text, rebooted):
    """A port that is older than the server was not made for it; with stock it is deleted."""
    server, given, made = given_and_made(host)
    with host.conductor.database() as tables:
        tables["InstanceInfoCache"][server]["network_info"] = text
    if rebooted:
        do(host, server, "reboot_instance", "rebooting_hard", reboot_type="HARD",
           block_device_info=None)  # fmt: skip
        assert [vif["id"] for vif in host.cached(server)] == [given["id"], made["id"]]
    delete(host, server)

    assert (free(given), ports(host)) == (True, {given["id"]})


# --- what is asked for -------------------------------------------------------------------------
def test_nics_are_in_the_order_of_the_request(host):
    """Given and made ones, of several networks."""
    other = host.service.network(PROJECT, name="other")
    host.service.subnet(other, "10.1.0.0/24")
    one, two = host.service.port(host.network), host.service.port(other)
    server = boot(
        host, {"network_id": other["id"]}, {"port_id": two["id"]}, {"network_id": NETWORK},
        {"port_id": one["id"]},
    )  # fmt: skip

    order = [nic.mac for nic in host.hypervisor.guests[server].spec.nics]
    rows = {row["mac_address"]: row for row in host.service.ports_of(server)}
    networks = [rows[mac]["network_id"] for mac in order]
    assert networks == [other["id"], other["id"], NETWORK, NETWORK]
    assert (rows[order[1]], rows[order[3]]) == (two, one)
    assert [vif["address"] for vif in host.cached(server)] == order


def test_none_and_auto(host):
    """No port at all; the network that Neutron makes where the project has none."""
    server = boot(host, {"network_id": "none"})
    assert (host.service.ports_of(server), host.cached(server)) == ([], [])
    host.service.rows["networks"].clear()
    made = []
    network = host.service.network

    def with_subnet(*named, **values):
        made.append(network(*named, **values))
        host.service.subnet(made[0])
        return made[0]

    host.service.network = with_subnet
    server = boot(host, {"network_id": "auto"})
    (port,) = host.service.ports_of(server)
    assert port["network_id"] == made[0]["id"]


# --- what goes wrong ---------------------------------------------------------------------------
def fault_of(host):
    """The reason in the fault of the only server."""
    ((_, message),) = host.faults()
    return message


def test_a_port_of_another_server_is_left_to_it(host):
    """Its user is told which one; no other host is tried."""
    theirs = host.service.port(
        host.network, device_id="another server", **{"binding:host_id": "host2"}
    )
    server = build(host, {"network_id": NETWORK}, {"port_id": theirs["id"]})

    assert host.row(server)[1] == "error"
    assert f"Port {theirs['id']} is still in use" in fault_of(host)
    assert (theirs["device_id"], theirs["binding:host_id"]) == ("another server", "host2")
    assert ports(host) == {theirs["id"]}


def test_a_host_that_cannot_serve_the_port(host):
    """The reason is Neutron's; the given port is free for another one."""
    given = host.service.port(host.network)
    host.service.bindable_hosts = {"host2"}
    server = build(host, {"port_id": given["id"]})

    assert "Binding failed for port" in fault_of(host)
    assert (host.row(server)[1], free(given)) == ("error", True)


@pytest.mark.parametrize("calls", [2, 10**6])
def test_a_neutron_that_is_down(host, monkeypatch, calls):
    """The boot waits for it; at last its fault says who does not answer."""
    if calls > 2:
        monkeypatch.setitem(patience.PATIENCE, NetworkUnavailable, 0.0)
    given, down = host.service.port(host.network), iter(range(calls))
    host.service.before.insert(
        0,
        lambda call: Reply(503) if call.method != "GET" and next(down, None) is not None else None,
    )
    server = build(host, {"port_id": given["id"]})

    if calls == 2:
        assert (host.row(server)[1], given["device_id"], host.faults()) == ("active", server, [])
    else:
        assert "Neutron refuses PUT" in fault_of(host) and "503" in fault_of(host)
        assert host.row(server)[1] == "error"


@pytest.mark.parametrize("fatal", [True, False])
def test_a_port_that_is_never_wired_up(host, fatal):
    """[DEFAULT]vif_plugging_is_fatal says whether the server runs nevertheless."""
    host.conf.set_override("vif_plugging_timeout", 1)
    host.conf.set_override("vif_plugging_is_fatal", fatal)
    host.service.before.clear()
    given = host.service.port(host.network)
    server = build(host, {"port_id": given["id"]})

    if fatal:
        # The middle of a long reason is left out.
        # The middle of a long reason is left out.
        wanted = f" ... port {given['id']} as plugged within 1 s; look at its agent on host host1"
        assert fault_of(host).endswith(wanted)
        assert (host.row(server)[1], free(given)) == ("error", True)
        assert host.hypervisor.guests == {}
    else:
        assert host.row(server) == ("host1", "active", None, 1)
        assert host.faults() == []
