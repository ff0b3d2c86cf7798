"""A server's ports against a Neutron that knows rights, bindings and lost answers."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.session import Sessions
from nova_lite.model.network import FixedIp
from nova_lite.model.server import Flavor, Image, Server
from nova_lite.services import port_reads
from nova_lite.services.port_requests import PortRequest, port_requests
from nova_lite.services.ports import Ports
from nova_lite.wire import network_info
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


@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        ("IpAddressGenerationFailure", errors.NoMoreFixedIps,
         "No fixed IP addresses available for network: {}"),
        ("InvalidIpForNetwork", errors.FixedIpInvalid,
         "Fixed IP 10.9.9.9 is not a valid ip address for network {}"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_had(service, ports, network, kind, expected, words):
    """The error says in nova's words which network has it not."""
    request = PortRequest(network["id"], fixed_ip="10.9.9.9")
    service.before.append(lambda call: error(409, kind) if call.method == "POST" else None)
    with pytest.raises(expected, match=words.format(network["id"])):
        allocate(ports, request)


def test_the_first_attempt_does_not_look_for_ports_made_before(service, ports, network):
    """Unless its answer is lost: then what it has made is found."""
    service.lose_answers = 1
    request = [PortRequest(network["id"])]
    ports.allocate(CONTEXT, SERVER, request, (), "host1", first=True)
    look = "GET ports by device_id"
    assert look in service.asked and look not in service.asked[: service.asked.index("POST ports")]
    del service.asked[:]
    ports.allocate(CONTEXT, SERVER, request, (), "host1")
    assert look in service.asked and "POST ports" not in service.asked
    assert len(service.ports_of(SERVER.uuid)) == 1


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
        ({"resource_request": {"resources": {"X": 1}}}, errors.PortResourcesUnknown),
    ],
)
def test_ports_that_cannot_be_used_are_named(service, ports, network, values, expected):
    """The checks of stock nova, and its errors."""
    mine = service.port(network, **values)
    with pytest.raises(expected, match=mine["id"]):
        allocate(ports, PortRequest(port_id=mine["id"]))


LEGACY = {"resources": {"NET_BW_EGR_KILOBIT_PER_SEC": 1000}, "required": ["CUSTOM_PHYSNET_P"]}
EXTENDED = {
    "request_groups": [
        {"id": "bandwidth", "required": ["CUSTOM_PHYSNET_P", "CUSTOM_VNIC_TYPE_NORMAL"],
         "resources": {"NET_BW_EGR_KILOBIT_PER_SEC": 1000, "NET_BW_IGR_KILOBIT_PER_SEC": 500}},
        {"id": "rate", "required": [],
         "resources": {"NET_PACKET_RATE_KILOPACKET_PER_SEC": 10}},
    ],
    "same_subtree": ["bandwidth", "rate"],
}  # fmt: skip


def rated(service, network, request, port_id="11111111-0000-0000-0000-000000000001"):
    """A port with a guaranteed rate; what the scheduler chose, and what Neutron is to be told."""
    mine = service.port(
        network, id=port_id, resource_request=request, **{"binding:profile": {"trusted": "true"}}
    )
    if request is LEGACY:
        return mine, {port_id: ["rp1"]}, "rp1"
    return mine, {"bandwidth": ["rp1"], "rate": ["rp2"]}, {"bandwidth": "rp1", "rate": "rp2"}


@pytest.mark.parametrize("request_", [LEGACY, EXTENDED])
def test_neutron_is_told_who_gives_the_guaranteed_rate(service, ports, network, request_):
    """With the binding, in the form that its API extension asks for; and not any more after it."""
    mine, providers, told = rated(service, network, request_)
    asked = [PortRequest(port_id=mine["id"])]
    start = len(service.cloud.calls)

    (vif,) = ports.allocate(CONTEXT, SERVER, asked, (), "host1", providers=providers)
    ports.allocate(CONTEXT, SERVER, asked, (), "host1", providers=providers)

    assert service.done(start).count("PUT ports as neutron") == 1
    assert mine["binding:profile"] == {"trusted": "true", "allocation": told} == vif.profile
    ports.unbind(CONTEXT, SERVER.uuid, "host1")
    assert mine["binding:profile"] == {"trusted": "true"}
    ports.allocate(CONTEXT, SERVER, asked, (), "host1", providers=providers)
    ports.deallocate(CONTEXT, SERVER.uuid, [mine["id"]])
    assert (mine["binding:profile"], mine["device_id"]) == ({"trusted": "true"}, "")


@pytest.mark.parametrize("request_", [LEGACY, EXTENDED])
def test_an_unshelved_port_has_the_providers_of_its_new_host(service, ports, network, request_):
    """A start on the same host leaves them."""
    mine, providers, told = rated(service, network, request_)
    known = ports.allocate(
        CONTEXT, SERVER, [PortRequest(port_id=mine["id"])], (), "host2", providers=providers
    )
    ports.unbind(CONTEXT, SERVER.uuid, "host2")

    with pytest.raises(errors.PortResourcesUnknown):
        ports.bind(CONTEXT, SERVER, known, "host1", {})
    (vif,) = ports.bind(CONTEXT, SERVER, known, "host1", providers)

    assert vif.profile == {"trusted": "true", "allocation": told}
    mine["binding:vif_type"] = "unbound"
    assert ports.bind(CONTEXT, SERVER, known, "host1")[0].profile["allocation"] == told


def test_a_port_is_not_bound_without_the_providers_that_it_needs(service, ports, network):
    """Nobody has scheduled what its QoS policy asks for by now."""
    mine, providers, _ = rated(service, network, EXTENDED)
    del providers["rate"]
    with pytest.raises(errors.PortResourcesUnknown, match=mine["id"]):
        ports.allocate(
            CONTEXT, SERVER, [PortRequest(port_id=mine["id"])], (), "host1", providers=providers
        )
    assert mine["binding:host_id"] == ""


@pytest.mark.parametrize("known_right", [False, True])
def test_a_network_with_a_guaranteed_rate_is_refused(service, ports, network, known_right):
    """Neutron tells the user nothing of the rate; the port that was made does not stay."""
    if known_right:
        allocate(ports, PortRequest(network["id"]))
        ports.deallocate(CONTEXT, SERVER.uuid, ())

    def with_rate(call):
        for row in service.rows["ports"]:
            row["resource_request"] = EXTENDED

    service.before.append(with_rate)
    row, service.port = service.port, lambda *a, **v: row(*a, **{**v, "resource_request": EXTENDED})
    with pytest.raises(errors.NetworkWithGuaranteedRate, match=network["id"]):
        allocate(ports, PortRequest(network["id"]))
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    assert service.ports_of(SERVER.uuid) == []


def test_a_port_that_guarantees_nothing_needs_no_provider(service, ports, network):
    """Where Neutron has the extension, every port has an empty request."""
    mine = service.port(network, resource_request={"request_groups": [], "same_subtree": []})
    (vif,) = allocate(ports, PortRequest(port_id=mine["id"]))
    assert "allocation" not in vif.profile


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


def test_names_of_a_servers_security_groups(service, ports, network):
    """One per port and group, in the order of the ports; a group without a name has its id."""
    rows = [("sg-1", "web"), ("sg-2", "")]
    service.rows["security-groups"] += [
        {"id": group_id, "name": name, "tenant_id": "alice"} for group_id, name in rows
    ]
    assert ports.security_groups(CONTEXT, SERVER.uuid) == []
    service.port(network, device_id=SERVER.uuid, security_groups=["sg-2", "sg-1"])
    service.port(network, device_id=SERVER.uuid, security_groups=["sg-1", "sg-of-nobody"])
    service.port(network, device_id="other", security_groups=["sg-3"])

    assert ports.security_groups(CONTEXT, SERVER.uuid) == ["sg-2", "web", "web"]


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


def test_a_name_that_neutron_does_not_take(service, ports):
    """Of a network with a domain; with stock's words."""
    network = service.network("alice", dns_domain="example.org.")
    service.subnet(network)
    service.before.append(
        lambda call: error(400, "BadRequest")
        if call.method == "PUT" and "dns_name" in call.body["port"] else None
    )  # fmt: skip
    with pytest.raises(errors.InvalidDnsName, match="hostname s is not a valid DNS name"):
        allocate(ports, PortRequest(network["id"]))


@pytest.mark.parametrize("whose", ["mine", "made"])
def test_a_trunk_is_plugged_into_its_own_bridge(service, ports, network, whose):
    """ML2/OVS names it in the binding; the name is cut as the agent cuts it."""
    mine = service.port(network)
    service.bridge = "tbr-0123456789"

    asked = PortRequest(port_id=mine["id"]) if whose == "mine" else PortRequest(network["id"])
    (vif,) = allocate(ports, asked)

    assert (vif.network.bridge, vif.details["bridge_name"]) == ("tbr-0123456789",) * 2


def test_both_ip_versions(service, ports, network):
    """Each subnet with its own addresses, gateway, routes and mode, as stock's cache has them."""
    six = service.subnet(
        network, "2001:db8::/64", ip_version=6, gateway_ip="fe80::1", enable_dhcp=True,
        ipv6_address_mode="dhcpv6-stateful", dns_nameservers=["2001:db8::53"],
        host_routes=[{"destination": "2001:db8:1::/64", "nexthop": "2001:db8::2"}],
    )  # fmt: skip
    mine = service.port(network)
    mine["fixed_ips"].append({"subnet_id": six["id"], "ip_address": "2001:db8::9"})

    (vif,) = allocate(ports, PortRequest(port_id=mine["id"]))

    four, second = vif.network.subnets
    assert (four.version, second.version, len(four.ips), len(second.ips)) == (4, 6, 1, 1)
    assert (second.ips[0].address, second.gateway) == ("2001:db8::9", "fe80::1")
    (stored,) = json.loads(network_info.dump([vif]))
    kept = stored["network"]["subnets"][1]
    assert kept["meta"] == {"enable_dhcp": True, "ipv6_address_mode": "dhcpv6-stateful"}
    assert (kept["version"], kept["gateway"]["version"], kept["dns"][0]["version"]) == (6, 6, 6)
    assert kept["routes"] == [
        {"cidr": "2001:db8:1::/64", "interface": None, "meta": {},
         "gateway": {"address": "2001:db8::2", "type": "gateway", "version": 6, "meta": {}}}
    ]  # fmt: skip
    assert network_info.load(network_info.dump([vif]))[0].network == vif.network


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


def test_ports_that_could_not_be_used_here_go_back(service, ports, network):
    """To the host that had them; those that another one has by now stay there."""
    known = allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    ports.bind(CONTEXT, SERVER, known, "host2")
    first, second = service.ports_of(SERVER.uuid)
    second["binding:host_id"] = "host3"

    for _ in range(2):
        ports.hand_back(CONTEXT, SERVER, "host2", "host1")

    assert (first["binding:host_id"], second["binding:host_id"]) == ("host1", "host3")


def test_ports_say_where_their_server_goes_while_it_runs(service, ports, network):
    """As stock writes it; the rest of the profile stays, and a port that is there says nothing."""
    allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    first, second = service.ports_of(SERVER.uuid)
    first["binding:profile"] = {"trusted": "true"}
    second["binding:host_id"] = "host2"

    ports.announce_move(CONTEXT, SERVER.uuid, "host2")

    assert first["binding:profile"] == {"trusted": "true", "migrating_to": "host2"}
    assert not second.get("binding:profile")
    calls = calls_of(service, lambda: ports.announce_move(CONTEXT, SERVER.uuid, "host2"))
    assert len(calls) == 1  # nothing is written twice
    ports.announce_move(CONTEXT, SERVER.uuid, None)
    assert first["binding:profile"] == {"trusted": "true"}


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


def nothing(service, port):
    pass


def wire(service, port):
    port["status"] = "ACTIVE"


def associate(service, port):
    service.rows["floatingips"].append(
        {
            "id": "f",
            "port_id": port["id"],
            "fixed_ip_address": port["fixed_ips"][0]["ip_address"],
            "floating_ip_address": "172.24.4.9",
            "tenant_id": "alice",
        }
    )


def move(service, port):
    """To another address, in a subnet that was made meanwhile."""
    network = next(n for n in service.rows["networks"] if n["id"] == port["network_id"])
    subnet = service.subnet(network, "10.1.0.0/24")
    port["fixed_ips"] = [{"subnet_id": subnet["id"], "ip_address": "10.1.0.5"}]


def add_address(service, port):
    port["fixed_ips"].append({**port["fixed_ips"][0], "ip_address": "10.0.0.77"})


def change_profile(service, port):
    port["binding:profile"] = {"trusted": "true"}


CHANGES = {nothing: 2, wire: 2, associate: 5, move: 5, add_address: 5, change_profile: 5}


@pytest.mark.parametrize("change", CHANGES)
def test_a_sparing_refresh_reads_no_more_than_what_changed(service, ports, network, change):
    """What it says is what one that reads everything says."""
    known = allocate(ports, PortRequest(network["id"], tag="t"))
    (port,) = service.ports_of(SERVER.uuid)
    change(service, port)
    del service.asked[:]

    sparing = ports.refresh(NO_TOKEN, SERVER.uuid, known, sparing=True)

    assert len(service.asked) <= CHANGES[change]
    assert sparing == ports.refresh(NO_TOKEN, SERVER.uuid, known)
    assert (sparing == known) == (change is nothing)


def test_a_sparing_refresh_of_a_server_that_lost_its_cache_finds_its_ports(service, ports, network):
    (vif,) = allocate(ports, PortRequest(network["id"]))
    assert ports.refresh(NO_TOKEN, SERVER.uuid, [], sparing=True) == [vif]


def test_a_subnet_made_while_a_refresh_reads_is_read_once_more(service, ports, network):
    """Ports and subnets are read side by side, so a port may be in one that was not there yet."""
    known = allocate(ports, PortRequest(network["id"]))
    (port,) = service.ports_of(SERVER.uuid)
    read = []

    def change_after_the_subnets_were_read(call):
        if "/subnets" in call.path:
            read.append(call)
        elif "device_id" in call.query:
            while not read:
                time.sleep(0.01)
            time.sleep(0.2)
            move(service, port)

    service.before.append(change_after_the_subnets_were_read)
    (vif,) = ports.refresh(NO_TOKEN, SERVER.uuid, known)
    assert [ip.address for ip in vif.network.subnets[0].ips] == ["10.1.0.5"]


def test_servers_of_one_request_read_their_network_once(service, ports, network):
    """However many at the same time; another request, or a second attempt, reads it anew."""
    requests = [PortRequest(network["id"])]

    def boot(number, context=CONTEXT, first=True):
        server = replace(SERVER, uuid=f"344a9120-b410-41e7-af51-fddb339207{number:02d}")
        return ports.allocate(context, server, requests, (), "host1", first=first)

    with ThreadPoolExecutor(6) as pool:
        ahead = pool.submit(ports.read_ahead, CONTEXT, requests)
        vifs = [vif for (vif,) in pool.map(boot, range(5))]
        ahead.result()
    reads = ("GET networks by id", "GET subnets by network_id")
    assert [service.asked.count(read) for read in reads] == [1, 1]
    assert {vif.network.label for vif in vifs} == {"net"}
    assert all(vif.network.subnets[0].cidr == "10.0.0.0/24" for vif in vifs)
    boot(6, RequestContext({**CONTEXT.fields, "request_id": "req-2"}))
    assert [service.asked.count(read) for read in reads] == [2, 2]
    boot(7, first=False)
    assert [service.asked.count(read) for read in reads] == [3, 3]


def test_what_could_not_be_read_ahead_is_read_when_it_is_needed(service, ports, network):
    """The failure of one read is nobody else's."""
    service.before.append(lambda call: Reply(503))
    with pytest.raises(errors.NetworkUnavailable):
        ports.read_ahead(CONTEXT, [PortRequest(network["id"])])
    service.before.clear()
    (vif,) = ports.allocate(
        CONTEXT, SERVER, [PortRequest(network["id"])], (), "host1", first=True
    )
    assert vif.network.label == "net"


def test_what_was_read_for_a_request_is_forgotten(service, ports, network, monkeypatch):
    clock = ports._clock
    for pause in (0.0, port_reads.KEPT_S - 1.0, 2.0):
        clock.sleep(pause)
        ports.read_ahead(CONTEXT, [PortRequest(network["id"])])
    assert service.asked.count("GET networks by id") == 2


def two_at_once(service, method):
    """Neutron answers such calls only when there are two of them."""
    together = threading.Barrier(2)

    def answer(call):
        if call.method == method:
            together.wait(10)

    service.before.append(answer)


def test_ports_on_two_networks_are_made_at_the_same_time(service, ports, network):
    """Each takes Neutron a third of a second; the interfaces come in the order of the request."""
    other = service.network("alice", name="other")
    service.subnet(other)
    two_at_once(service, "POST")
    vifs = allocate(ports, PortRequest(other["id"]), PortRequest(network["id"]))
    assert [vif.network.label for vif in vifs] == ["other", "net"]


def test_ports_of_a_server_are_deleted_at_the_same_time(service, ports, network):
    allocate(ports, PortRequest(network["id"]), PortRequest(network["id"]))
    two_at_once(service, "DELETE")
    ports.deallocate(CONTEXT, SERVER.uuid, ())
    assert service.ports_of(SERVER.uuid) == []


def test_lost_answers_on_several_networks_make_no_port_twice(service, ports, network):
    """Each is found on its own network, and the second of a network is not the first."""
    other = service.network("alice", name="other")
    service.subnet(other)
    requests = [PortRequest(row["id"]) for row in (network, other, network, other)]
    service.lose_answers = 3
    vifs = ports.allocate(CONTEXT, SERVER, requests, (), "host1", first=True)
    assert [vif.network.id for vif in vifs] == [request.network_id for request in requests]
    assert len({vif.id for vif in vifs}) == len(service.ports_of(SERVER.uuid)) == 4
