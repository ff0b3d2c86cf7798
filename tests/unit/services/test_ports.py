"""A server's ports against a Neutron that knows rights, bindings and lost answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.session import Sessions
from nova_lite.model.network import FixedIp
from nova_lite.model.server import Flavor, Image, Server
from nova_lite.services.port_requests import PortRequest, port_requests
from nova_lite.services.ports import Ports
from nova_lite.wire.context import RequestContext
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply
from tests.fakes.neutron import FakeNeutron, error

SERVER = Server(
    uuid="344a9120-b410-41e7-af51-fddb339207ce",
    domain_name="instance-00000001",
    display_name="s",
    hostname="s",
    flavor=Flavor("f", "1", 1, 64, 1),
    image=Image(None),
    project_id="alice",
    availability_zone="az1",
)
CONTEXT = RequestContext(
    {"auth_token": "alice-token", "user_id": "u", "roles": ["member"], "request_id": "req-1"}
)
NO_TOKEN = RequestContext.admin()


@pytest.fixture
def service():
    cloud = HttpCloud()
    cloud.tokens["alice-token"] = "alice"
    yield FakeNeutron(cloud)
    cloud.close()


@pytest.fixture
def ports(service, tmp_path):
    options = {
        **service.cloud.credentials("neutron"),
        "connect_retry_delay": "0.01",
        "status_code_retry_delay": "0.01",
    }
    conf = read_conf(tmp_path, {"neutron": options})
    return Ports(Neutron(Sessions(conf)), conf, ManualClock())


@pytest.fixture
def network(service):
    row = service.network("alice")
    service.subnet(row)
    return row


def allocate(ports, *requests, context=CONTEXT, groups=(), host="host1"):
    return ports.allocate(context, SERVER, requests, groups, host)


def calls_of(service, action):
    start = len(service.cloud.calls)
    action()
    return service.done(start)


def test_a_port_is_made_and_bound(service, ports, network):
    """The port is the user's, carries the server, and the interface says all Neutron knows."""
    vif = allocate(ports, PortRequest(network["id"], tag="nic0"), groups=["default"])[0]
    port = service.ports_of(SERVER.uuid)[0]
    assert (port["tenant_id"], port["device_owner"]) == ("alice", "compute:az1")
    assert (port["binding:host_id"], port["dns_name"]) == ("host1", "s")
    assert (vif.id, vif.mac, vif.tag, vif.preserve) == (port["id"], port["mac_address"], "nic0", 0)
    assert (vif.vif_type, vif.network.bridge, vif.active) == ("ovs", "br-int", False)
    assert vif.devname == f"tap{port['id'][:11]}"
    assert (vif.network.label, vif.network.mtu, vif.network.tunneled) == ("net", 1442, False)
    assert vif.network.physical_network == "physnet1"
    assert vif.network.subnets[0].ips == (FixedIp(port["fixed_ips"][0]["ip_address"], 4),)
    assert vif.network.subnets[0].gateway == "10.0.0.1"


def test_the_user_makes_the_first_port_and_is_spared_the_second_call_later(service, ports, network):
    """Policies judge the user's own call; once they did, one call makes and binds."""
    request = PortRequest(network["id"])
    first = calls_of(service, lambda: allocate(ports, request))
    assert "POST ports as alice" in first and "PUT ports as neutron" in first
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    second = calls_of(service, lambda: allocate(ports, request))
    assert [call for call in second if not call.startswith("GET")] == ["POST ports as neutron"]
    port = service.ports_of(SERVER.uuid)[0]
    assert (port["tenant_id"], port["binding:host_id"]) == ("alice", "host1")


def test_the_short_cut_is_bound_to_user_network_groups_and_address(service, ports, network):
    """A right proven for one thing is not taken for another."""
    other = service.network("alice", name="other")
    service.subnet(other)
    allocate(ports, PortRequest(network["id"]))
    another_user = RequestContext({**CONTEXT.fields, "user_id": "v"})
    fewer_roles = RequestContext({**CONTEXT.fields, "roles": ["reader"]})
    group = "11111111-1111-1111-1111-111111111111"
    for arguments in (
        {"requests": [PortRequest(other["id"])]},
        {"requests": [PortRequest(network["id"], fixed_ip="10.0.0.99")]},
        {"requests": [PortRequest(network["id"])], "context": another_user},
        {"requests": [PortRequest(network["id"])], "context": fewer_roles},
        {"requests": [PortRequest(network["id"])], "groups": [group]},
    ):
        ports.deallocate(CONTEXT, SERVER.uuid, ())
        requests = arguments.pop("requests")
        done = calls_of(service, lambda r=requests, a=arguments: allocate(ports, *r, **a))
        assert "POST ports as alice" in done, arguments


@pytest.mark.parametrize("token", ["expired", None])
@pytest.mark.parametrize("fixed_ip", [None, "10.0.0.99"])
def test_the_agent_makes_no_port_in_the_user_s_stead(service, ports, network, fixed_ip, token):
    """It may choose addresses and security groups that its user may not."""
    expired = RequestContext({**CONTEXT.fields, "auth_token": token})
    request = PortRequest(network["id"], fixed_ip=fixed_ip)

    def allocation():
        with pytest.raises(errors.RequestTokenExpired):
            allocate(ports, request, context=expired)

    done = calls_of(service, allocation)
    assert "POST ports as neutron" not in done
    assert service.ports_of(SERVER.uuid) == []


@pytest.mark.parametrize("token", ["expired", None])
def test_nor_a_network(service, ports, token):
    """Neutron makes one, a router and subnets for a project that asks for "auto"."""
    expired = RequestContext({**CONTEXT.fields, "auth_token": token})

    def allocation():
        with pytest.raises(errors.RequestTokenExpired):
            allocate(ports, PortRequest("auto"), context=expired)

    done = calls_of(service, allocation)
    assert not [call for call in done if "auto-allocated-topology as neutron" in call]


def test_repeating_an_allocation_makes_nothing_new(service, ports, network):
    """A boot that was killed and resumed, even without a token, keeps its ports."""
    requests = [PortRequest(network["id"], tag="a"), PortRequest(network["id"], tag="b")]
    first = allocate(ports, *requests)
    done = calls_of(service, lambda: allocate(ports, *requests, context=NO_TOKEN))
    assert all(call.startswith("GET") for call in done)
    assert [vif.id for vif in allocate(ports, *requests)] == [vif.id for vif in first]
    assert len(service.ports_of(SERVER.uuid)) == 2


@pytest.mark.parametrize("known_right", [False, True])
def test_a_kill_between_the_calls_leaves_a_port_that_is_found_again(
    service, ports, network, known_right
):
    """Made but not bound: the next try binds that port."""
    if known_right:
        allocate(ports, PortRequest(network["id"]))
        ports.deallocate(CONTEXT, SERVER.uuid, ())
    left = service.port(network, device_id=SERVER.uuid)
    vifs = allocate(ports, PortRequest(network["id"]))
    assert [vif.id for vif in vifs] == [left["id"]]
    assert left["binding:host_id"] == "host1" and left["device_owner"] == "compute:az1"


def test_ports_left_by_another_host_are_bound_here(service, ports, network):
    """After a reschedule the port is taken over, not doubled."""
    allocate(ports, PortRequest(network["id"]), host="host2")
    allocate(ports, PortRequest(network["id"]), host="host1")
    assert [port["binding:host_id"] for port in service.ports_of(SERVER.uuid)] == ["host1"]


def test_a_lost_answer_does_not_double_the_port(service, ports, network):
    """The connection broke after Neutron had made the port."""
    service.lose_answers = 1
    vifs = allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    assert sorted(vif.id for vif in vifs) == sorted(
        port["id"] for port in service.ports_of(SERVER.uuid)
    )


def test_a_neutron_that_stays_away_is_reported(service, ports, network):
    """After a few tries it is an outage; reads still worked."""
    service.before.append(lambda call: Reply(503) if call.method == "POST" else None)
    with pytest.raises(errors.NetworkUnavailable):
        allocate(ports, PortRequest(network["id"]))


def test_surplus_ports_of_an_earlier_try_are_removed(service, ports, network):
    """Should a server ever have one too many, it loses the newer one."""
    kept, surplus = (service.port(network, device_id=SERVER.uuid) for _ in range(2))
    vifs = allocate(ports, PortRequest(network["id"]))
    assert [vif.id for vif in vifs] == [kept["id"]]
    assert surplus not in service.rows["ports"]


def test_a_port_of_the_user_is_bound_and_kept_for_later(service, ports, network):
    """It is marked as preserved, keeps its profile, and shows its floating address."""
    mine = service.port(network, **{"binding:profile": {"mine": 1}, "status": "ACTIVE"})
    service.rows["floatingips"].append(
        {
            "tenant_id": "alice",
            "port_id": mine["id"],
            "fixed_ip_address": mine["fixed_ips"][0]["ip_address"],
            "floating_ip_address": "172.24.4.9",
        }
    )
    vif = allocate(ports, PortRequest(port_id=mine["id"]))[0]
    assert (vif.preserve, vif.active, vif.profile) == (True, True, {"mine": 1})
    assert vif.network.subnets[0].ips[0].floating_ips == ("172.24.4.9",)
    ports.deallocate(CONTEXT, SERVER.uuid, [mine["id"]])
    assert (mine["device_id"], mine["device_owner"], mine["binding:host_id"]) == ("", "", "")
    assert (mine["dns_name"], mine["binding:profile"]) == ("", {"mine": 1})


def test_order_follows_the_request(service, ports, network):
    """Made and taken ports stand where they were asked for."""
    mine = service.port(network)
    vifs = allocate(ports, PortRequest(network["id"]), PortRequest(port_id=mine["id"]))
    assert [vif.preserve for vif in vifs] == [False, True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tenant_id": "bob"}, errors.PortNotUsable),
        ({"device_id": "another server"}, errors.PortInUse),
        ({"dns_name": "other"}, errors.PortNotUsableDns),
        ({"binding:vif_type": "binding_failed"}, errors.PortBindingFailed),
        ({"resource_request": {"resources": {"X": 1}}}, errors.UnsupportedByHost),
    ],
)
def test_ports_that_cannot_be_used_are_named(service, ports, network, values, expected):
    """The checks of stock nova, and its errors."""
    mine = service.port(network, **values)
    with pytest.raises(expected, match=mine["id"]):
        allocate(ports, PortRequest(port_id=mine["id"]))


def test_unknown_ports_and_networks_are_named(service, ports, network):
    """Missing, or of somebody else."""
    with pytest.raises(errors.PortNotFound, match="nope"):
        allocate(ports, PortRequest(port_id="nope"))
    with pytest.raises(errors.NetworkNotFound, match="nope"):
        allocate(ports, PortRequest("nope"))
    foreign = service.network("bob")
    service.subnet(foreign)
    with pytest.raises(errors.NetworkNotFound):
        allocate(ports, PortRequest(foreign["id"]))


def test_nothing_asked_for_takes_the_only_network(service, ports, network):
    """One network: that; two: ambiguous; none: no interface, or an error if one was asked for."""
    assert allocate(ports)[0].network.id == network["id"]
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    assert allocate(ports, PortRequest(tag="t"))[0].tag == "t"
    service.subnet(service.network("bob", shared=True))
    with pytest.raises(errors.NetworkAmbiguous):
        allocate(ports)
    service.rows["networks"].clear()
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    assert allocate(ports) == []
    with pytest.raises(errors.NoNetworkAvailable, match="alice"):
        allocate(ports, PortRequest())


def test_none_and_auto(service, ports):
    """'none' asks for nothing of Neutron; 'auto' lets Neutron make a network."""
    assert calls_of(service, lambda: allocate(ports, PortRequest("none"))) == []
    service.before.append(
        lambda call: error(409, "AutoAllocationFailure") if "auto-alloc" in call.path else None
    )
    with pytest.raises(errors.AutoAllocationFailed, match="alice"):
        allocate(ports, PortRequest("auto"))
    service.before.clear()
    start = len(service.cloud.calls)
    with pytest.raises(errors.SecurityGroupCannotBeApplied):  # the fake's has no subnet
        allocate(ports, PortRequest("auto"))
    assert "GET auto-allocated-topology as alice" in service.done(start)


def test_external_networks_are_for_administrators(service, ports):
    """As stock: unless shared with the user."""
    external = service.network("alice", **{"router:external": True})
    service.subnet(external)
    with pytest.raises(errors.ExternalNetworkForbidden, match=external["id"]):
        allocate(ports, PortRequest(external["id"]))
    admin = RequestContext({**CONTEXT.fields, "is_admin": True})
    assert len(allocate(ports, PortRequest(external["id"]), context=admin)) == 1


def test_security_groups_by_name_and_id(service, ports, network):
    """Names are looked up among the user's groups, ids are left to Neutron to judge."""
    group = "11111111-1111-1111-1111-111111111111"
    for group_id, name in ((group, "web"), ("g2", "twice"), ("g3", "twice")):
        service.rows["security-groups"].append({"id": group_id, "name": name, "tenant_id": "alice"})
    allocate(ports, PortRequest(network["id"]), groups=["web"])
    assert service.ports_of(SERVER.uuid)[0]["security_groups"] == [group]
    with pytest.raises(errors.SecurityGroupAmbiguous, match="twice"):
        allocate(ports, PortRequest(network["id"]), groups=["twice"])
    with pytest.raises(errors.SecurityGroupNotFound, match="nope"):
        allocate(ports, PortRequest(network["id"]), groups=["nope"])
    assert "GET security-groups as alice" not in calls_of(
        service, lambda: allocate(ports, PortRequest(network["id"]), groups=[group])
    )


def test_networks_without_port_security_take_no_groups(service, ports):
    """As stock: asking for groups there is an error, asking for none is not."""
    open_network = service.network("alice", port_security_enabled=False)
    with pytest.raises(errors.SecurityGroupCannotBeApplied):
        allocate(
            ports,
            PortRequest(open_network["id"]),
            groups=["11111111-1111-1111-1111-111111111111"],
        )
    assert allocate(ports, PortRequest(open_network["id"]))[0].network.subnets == ()


def test_quota_and_binding_failures(service, ports, network):
    """The user's quota counts for every way to make a port; an unbindable port is named."""
    request = PortRequest(network["id"])
    with pytest.raises(errors.PortBindingFailed, match="host9"):
        allocate(ports, request, host="host9")
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    service.quota["alice"] = 0
    for _ in range(2):  # by the user, then by the short cut that the first call had opened
        with pytest.raises(errors.PortLimitExceeded):
            allocate(ports, request)


def test_a_network_with_a_domain_gets_its_name_from_the_user(service, ports):
    """The record is in the user's zone: set and reset with the user's rights."""
    network = service.network("alice", dns_domain="example.org.")
    service.subnet(network)
    mine = service.port(network)
    done = calls_of(service, lambda: allocate(ports, PortRequest(port_id=mine["id"])))
    assert mine["dns_name"] == "s"
    assert done.count("PUT ports as alice") == 1
    done = calls_of(service, lambda: ports.deallocate(CONTEXT, SERVER.uuid, [mine["id"]]))
    assert mine["dns_name"] == ""
    assert done.count("PUT ports as alice") == 1


def test_without_dns_extension_no_name_is_sent(service, ports):
    """Neutron refuses attributes that it does not know."""
    service.dns_extension = False
    network = service.network("alice")
    service.subnet(network)
    mine = service.port(network)
    assert len(allocate(ports, PortRequest(port_id=mine["id"]))) == 1
    ports.deallocate(CONTEXT, SERVER.uuid, [mine["id"]])
    assert mine["device_id"] == ""


def test_deallocate_goes_on_after_a_failure_and_tolerates_what_is_gone(service, ports, network):
    """All ports get their turn, the failure is told at the end; foreign ports are left alone."""
    stuck, gone, easy = (service.port(network, device_id=SERVER.uuid) for _ in range(3))
    foreign = service.port(network, device_id="another server")

    def answer(call):
        if call.method == "DELETE" and stuck["id"] in call.path:
            return Reply(500)
        if call.method == "DELETE" and gone["id"] in call.path:
            return error(404, "PortNotFound")
        return None

    service.before.append(answer)
    with pytest.raises(errors.NetworkUnavailable):
        ports.deallocate(CONTEXT, SERVER.uuid, [foreign["id"]])
    assert easy not in service.rows["ports"]
    assert foreign["device_id"] == "another server"


def test_refresh_keeps_order_and_what_only_we_know(service, ports, network):
    """Addresses come from Neutron; tag and preserve from before; ports that left are left out."""
    mine = service.port(network)
    requests = [PortRequest(network["id"], tag="a"), PortRequest(port_id=mine["id"], tag="b")]
    known = allocate(ports, *requests)
    mine["status"] = "ACTIVE"
    fresh = ports.refresh(CONTEXT, SERVER.uuid, known)
    assert [(vif.tag, vif.preserve, vif.active) for vif in fresh] == [
        ("a", False, False),
        ("b", True, True),
    ]
    mine["device_id"] = ""
    assert [vif.id for vif in ports.refresh(CONTEXT, SERVER.uuid, known)] == [known[0].id]


def test_refresh_of_one_port_touches_no_other(service, ports, network):
    """network-changed names a port; a port that is gone stays until it is unplugged."""
    known = allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    for port in service.ports_of(SERVER.uuid):
        port["status"] = "ACTIVE"
    fresh = ports.refresh(CONTEXT, SERVER.uuid, known, only=known[1].id)
    assert [vif.active for vif in fresh] == [False, True]
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    assert ports.refresh(CONTEXT, SERVER.uuid, known, only=known[1].id) == known


def test_ports_follow_their_server_to_another_host(service, ports, network):
    """Bound there as the server's zone says; tag and preserve are kept, addresses too."""
    known = allocate(ports, PortRequest(network["id"], tag="a"))
    ports.unbind(CONTEXT, SERVER.uuid, "host1")
    port = service.ports_of(SERVER.uuid)[0]
    assert (port["binding:host_id"], port["device_owner"]) == ("", "compute:az1")
    assert port["dns_name"] == "s"
    moved = replace(SERVER, availability_zone="az2")
    fresh = ports.bind(CONTEXT, moved, known, "host2")
    assert (port["binding:host_id"], port["device_owner"]) == ("host2", "compute:az2")
    assert [(vif.id, vif.tag, vif.vif_type) for vif in fresh] == [(known[0].id, "a", "ovs")]


def test_a_port_that_left_for_another_host_stays_there(service, ports, network):
    """An agent that cleans up late does not take it away from the next host."""
    allocate(ports, PortRequest(network["id"]), host="host2")
    ports.unbind(CONTEXT, SERVER.uuid, "host1")
    assert service.ports_of(SERVER.uuid)[0]["binding:host_id"] == "host2"


def test_what_a_host_wrote_into_the_profile_leaves_with_it(service, ports, network):
    """The user's own keys stay."""
    allocate(ports, PortRequest(network["id"]))
    port = service.ports_of(SERVER.uuid)[0]
    port["binding:profile"] = {"pci_slot": "0000:01:00.0", "trusted": "true"}
    ports.unbind(CONTEXT, SERVER.uuid, "host1")
    assert port["binding:profile"] == {"trusted": "true"}


def test_a_host_where_nothing_serves_the_port(service, ports, network):
    """As with a boot: PortBindingFailed."""
    known = allocate(ports, PortRequest(network["id"]))
    with pytest.raises(errors.PortBindingFailed):
        ports.bind(CONTEXT, SERVER, known, "unknown")


def test_active_are_ports_that_nothing_is_waited_for(service, ports, network):
    """Wired up, or switched off for good; others of the server are not."""
    wired, off, _waiting = allocate(ports, *[PortRequest(network["id"])] * 3)
    for row in service.ports_of(SERVER.uuid):
        row["status"] = "ACTIVE" if row["id"] == wired.id else "DOWN"
        row["admin_state_up"] = row["id"] != off.id
    assert ports.active(CONTEXT, SERVER.uuid) == {wired.id, off.id}


def test_a_lost_cache_is_found_again(service, ports, network):
    """Nothing known: all ports of the server, oldest first."""
    made = allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    assert [vif.id for vif in ports.refresh(CONTEXT, SERVER.uuid, [])] == [vif.id for vif in made]


def test_a_boot_needs_few_calls(service, ports, network):
    """The price of one port, the user's right known: five calls, two of them beside the POST."""
    allocate(ports, PortRequest(network["id"]))
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    done = calls_of(service, lambda: allocate(ports, PortRequest(network["id"])))
    assert sorted(done) == [
        "GET networks as neutron",
        "GET ports as neutron",  # what an earlier try made
        "GET ports as neutron",  # DHCP servers
        "GET subnets as neutron",
        "POST ports as neutron",
    ]
    assert calls_of(service, lambda: ports.deallocate(CONTEXT, SERVER.uuid, ())) == [
        "GET ports as neutron",
        "DELETE ports as neutron",
    ]


def test_the_dhcp_server_of_the_subnet_is_told(service, ports, network):
    """Where agents serve DHCP their port shows the address."""
    address = {"subnet_id": network["subnets"][0], "ip_address": "10.0.0.2"}
    service.port(network, device_owner="network:dhcp", fixed_ips=[address])
    vif = allocate(ports, PortRequest(network["id"]))[0]
    assert vif.network.subnets[0].dhcp_server == "10.0.0.2"


def test_requests_are_read_from_nova_objects():
    """Entries of a NetworkRequestList; devices that cannot be attached are refused by name."""
    entries = [
        {"network_id": "n", "address": "10.0.0.9", "port_id": None, "tag": "t"},
        {"network_id": None, "address": None, "port_id": "p", "tag": None},
    ]
    assert port_requests(entries) == [
        PortRequest("n", fixed_ip="10.0.0.9", tag="t"),
        PortRequest(port_id="p"),
    ]
    with pytest.raises(errors.UnsupportedByHost, match="port p "):
        port_requests([{"port_id": "p", "pci_request_id": "x"}])
