"""What ports with a guaranteed rate hold in Placement, while they come and go."""

from __future__ import annotations

import pytest

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.placement import Placement
from nova_lite.clients.session import Sessions
from nova_lite.services.port_resources import PortResources, providers_of, request_of
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, wrap
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud
from tests.fakes.neutron import FakeNeutron
from tests.fakes.placement import FakePlacementApi

CONTEXT = RequestContext.admin()
SERVER, ROOT = "344a9120-b410-41e7-af51-fddb339207ce", "8e5d3b6d-78d6-44bd-af08-700ae4892a12"
EGRESS, RATE = "NET_BW_EGR_KILOBIT_PER_SEC", "NET_PACKET_RATE_KILOPACKET_PER_SEC"
OTHER = "another server"


@pytest.fixture
def service():
    cloud = HttpCloud()
    yield FakeNeutron(cloud)
    cloud.close()


@pytest.fixture
def api():
    """A host with two interfaces to the physical network, and one server."""
    api = FakePlacementApi()
    api.add(ROOT, "node1")
    for nic in ("nic1", "nic2"):
        api.below(ROOT, nic, "CUSTOM_PHYSNET_P", **{EGRESS: 1000})
    api.below(ROOT, "ovs", **{RATE: 50})
    api.consumers[SERVER] = {ROOT: {"VCPU": 1}}
    return api


@pytest.fixture
def resources(service, api, tmp_path):
    conf = read_conf(tmp_path, {"neutron": service.cloud.credentials("neutron")})
    return PortResources(Neutron(Sessions(conf)), Placement(api))


def legacy(service, amount=600, **values):
    request = {"resources": {EGRESS: amount}, "required": ["CUSTOM_PHYSNET_P"]}
    return service.port({"id": "net", "subnets": [], "tenant_id": "alice"},
                        resource_request=request, **values)  # fmt: skip


def extended(service, amount=600, rate=10):
    request = {
        "request_groups": [
            {"id": "bandwidth", "resources": {EGRESS: amount}, "required": ["CUSTOM_PHYSNET_P"]},
            {"id": "rate", "resources": {RATE: rate}, "required": []},
        ],
        "same_subtree": ["bandwidth", "rate"],
    }
    return service.port(
        {"id": "net", "subnets": [], "tenant_id": "alice"}, resource_request=request
    )


def bind(port, providers):
    """What the attach does after the claim."""
    groups = {group.id: providers[group.id][0] for group in request_of(port).groups}
    told = groups if request_of(port).extended else groups[port["id"]]
    port["device_id"], port["binding:profile"] = SERVER, {"allocation": told}


def unbind(port):
    profile, port["device_id"], port["binding:profile"] = port["binding:profile"], "", {}
    return profile


def held(api):
    return {uuid: row for uuid, row in api.consumers[SERVER].items() if uuid != ROOT}


@pytest.mark.parametrize("make", [legacy, extended])
def test_a_claim_can_be_repeated_and_given_back(service, api, resources, make):
    """Before the port is bound, and after it; the flavor's own share is left alone."""
    port = make(service)

    first = resources.claim(CONTEXT, SERVER, port, ROOT)
    once = held(api)
    again = resources.claim(CONTEXT, SERVER, port, ROOT)

    key = "bandwidth" if make is extended else port["id"]
    assert (first[key], first == again, held(api) == once) == (["nic1"], True, True)
    assert once["nic1"] == {EGRESS: 600}
    bind(port, first)
    assert resources.claim(CONTEXT, SERVER, port, ROOT) == first
    profile = unbind(port)
    for _ in range(2):
        resources.release(CONTEXT, SERVER, port["id"], profile)
    assert api.consumers[SERVER] == {ROOT: {"VCPU": 1}}


def test_two_ports_of_a_server_do_not_share(service, api, resources):
    """What one has is not taken for the lost answer of the other's claim."""
    one, two = legacy(service, 400), legacy(service, 500)
    bind(one, resources.claim(CONTEXT, SERVER, one, ROOT))
    bind(two, resources.claim(CONTEXT, SERVER, two, ROOT))

    assert held(api) == {"nic1": {EGRESS: 900}}
    resources.release(CONTEXT, SERVER, one["id"], unbind(one))
    assert held(api) == {"nic1": {EGRESS: 500}}


def test_a_port_that_is_given_back_while_it_is_bound_stays_given_back(service, api, resources):
    """Killed between the two: the next release finds nothing to do."""
    one, two = legacy(service, 400), legacy(service, 400)
    for port in (one, two):
        bind(port, resources.claim(CONTEXT, SERVER, port, ROOT))
    for _ in range(2):
        resources.release(CONTEXT, SERVER, one["id"], one["binding:profile"])

    assert held(api) == {"nic1": {EGRESS: 400}}


def test_a_full_interface_is_passed_over_and_a_full_host_refuses(service, api, resources):
    """With stock's error; nothing is held of it."""
    api.consumers[OTHER] = {"nic1": {EGRESS: 500}}
    port = extended(service)
    assert resources.claim(CONTEXT, SERVER, port, ROOT)["bandwidth"] == ["nic2"]
    bind(port, {"bandwidth": ["nic2"], "rate": ["ovs"]})
    before = held(api)

    with pytest.raises(errors.InterfaceAttachResourceAllocationFailed, match=EGRESS):
        resources.claim(CONTEXT, SERVER, extended(service), ROOT)

    assert held(api) == before


def test_other_hosts_are_not_asked(service, api, resources):
    """Their interfaces may have enough left."""
    api.add("root2", "node2")
    api.below("root2", "nic9", "CUSTOM_PHYSNET_P", **{EGRESS: 10**6})

    with pytest.raises(errors.InterfaceAttachResourceAllocationFailed):
        resources.claim(CONTEXT, SERVER, legacy(service, 5000), ROOT)


def test_who_comes_between_is_met_by_reading_again(service, api, resources, monkeypatch):
    """Somebody else takes the interface, or changes what the server holds."""
    asked = []
    put = api._put_allocations

    def meddle(*arguments):
        asked.append(1)
        if len(asked) == 1:
            api.consumers[OTHER] = {"nic1": {EGRESS: 900}}
            api.consumer_generations[SERVER] = 7
        return put(*arguments)

    monkeypatch.setattr(api, "_put_allocations", meddle)
    port = legacy(service)

    assert resources.claim(CONTEXT, SERVER, port, ROOT) == {port["id"]: ["nic2"]}
    assert held(api) == {"nic2": {EGRESS: 600}}


def test_ports_without_a_rate_cost_no_call(service, api, resources):
    """Most of them."""
    port = service.port({"id": "net", "subnets": [], "tenant_id": "alice"})

    assert resources.claim(CONTEXT, SERVER, port, ROOT) == {}
    resources.release(CONTEXT, SERVER, port["id"], {"trusted": "true"})

    assert (api.calls, service.cloud.calls) == ([], [])


def test_a_server_that_holds_nothing_gets_nothing(service, api, resources):
    """It was deleted meanwhile."""
    api.consumers.clear()
    with pytest.raises(errors.InterfaceAttachResourceAllocationFailed):
        resources.claim(CONTEXT, SERVER, legacy(service), ROOT)
    assert api.consumers == {}


def test_the_scheduler_s_choice_is_in_the_request_spec():
    """As nova 34.0.0 writes it; groups of a flavor have no requester."""
    def group(requester, *providers):
        data = {"requester_id": requester, "provider_uuids": list(providers),
                "resources": {EGRESS: 1}, "required_traits": []}  # fmt: skip
        return {"nova_object.name": "RequestGroup", "nova_object.namespace": "nova",
                "nova_object.version": "1.3", "nova_object.data": data}  # fmt: skip

    spec = wrap(
        {"nova_object.name": "RequestSpec", "nova_object.namespace": "nova",
         "nova_object.version": "1.15", "nova_object.data": {"requested_resources": [
             group("p1", "rp1"), group(None, "rp2"), group("g1", "rp3")]}}
    )  # fmt: skip

    assert providers_of(spec) == {"p1": ["rp1"], "g1": ["rp3"]}
    assert providers_of(WireObject.new("RequestSpec", "1.15")) == providers_of(None) == {}


def test_a_server_that_goes_back_has_the_providers_that_it_holds(service, api, resources):
    """Each port one that gives enough, though they still name those of the other host; ports that
    ask for nothing need none."""
    small, big = legacy(service, 300), legacy(service)
    plain = service.port({"id": "net", "subnets": [], "tenant_id": "alice"})
    for port in (big, small, plain):
        port["device_id"] = SERVER
    big["binding:profile"] = {"allocation": "a provider of the other host"}
    api.consumers[SERVER] = {
        ROOT: {"VCPU": 1}, "nic2": {EGRESS: 600}, "nic1": {EGRESS: 300},
    }  # fmt: skip

    found = resources.serving(CONTEXT, SERVER)

    assert found == {big["id"]: ["nic2"], small["id"]: ["nic1"]}
