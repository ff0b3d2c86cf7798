"""Ports with a guaranteed rate that are attached and detached: what the server holds meanwhile."""

from __future__ import annotations

import pytest

from nova_lite import errors
from nova_lite.clients.placement import Placement
from nova_lite.failures import OperationFailed
from nova_lite.services.port_resources import PortResources
from tests.fakes.placement import FakePlacementApi
from tests.unit.operations.test_interfaces import ATTACH, DETACH, NOTHING, Site, boundaries

EGRESS = "NET_BW_EGR_KILOBIT_PER_SEC"
REQUEST = {
    "request_groups": [{"id": "group1", "resources": {EGRESS: 600}, "required": []}],
    "same_subtree": ["group1"],
}
FLAVOR = {"host1": {"VCPU": 1}}


@pytest.fixture
def api():
    api = FakePlacementApi()
    api.add("host1", "host1")
    api.below("host1", "nic1", **{EGRESS: 1000})
    return api


@pytest.fixture
def site(tmp_path, api):
    site = Site(tmp_path)
    neutron = site.host._parts["ports"]._neutron
    site.host._parts["port_resources"] = PortResources(neutron, Placement(api))
    site.host.restart()
    api.consumers[site.server] = dict(FLAVOR)
    yield site
    site.cloud.close()


@pytest.fixture
def port(site):
    return site.neutron.port(
        site.network, resource_request=REQUEST, **{"binding:profile": {"trusted": "true"}}
    )


def bound(site, port):
    allocation = {"trusted": "true", "allocation": {"group1": "nic1"}}
    return (port["device_id"], port["binding:profile"]) == (site.server, allocation)


def free(port):
    return (port["device_id"], port["binding:profile"]) == ("", {"trusted": "true"})


def test_an_attached_port_has_what_it_asks_for_until_it_is_detached(site, api, port):
    answer = site.attach(port_id=port["id"])

    assert answer["profile"] == port["binding:profile"]
    assert bound(site, port)
    assert api.consumers[site.server] == {**FLAVOR, "nic1": {EGRESS: 600}}
    site.detach(port["id"])
    assert (free(port), api.consumers[site.server]) == (True, FLAVOR)


def test_a_host_that_has_not_got_it_says_so(site, api, port):
    """With stock's error, at once; the port stays its user's."""
    api.consumers["another server"] = {"nic1": {EGRESS: 500}}

    with pytest.raises(OperationFailed) as refused:
        site.attach(port_id=port["id"])

    assert refused.value.nova_name == "InterfaceAttachResourceAllocationFailed"
    assert (free(port), api.consumers[site.server]) == (True, FLAVOR)


def test_a_guest_that_does_not_take_the_card_costs_nothing(site, api, port):
    """What was claimed is given back."""
    site.host.hypervisor.fail("attach_nic", errors.HypervisorError("no slot is free"))

    with pytest.raises(OperationFailed):
        site.attach(port_id=port["id"])

    assert (free(port), api.consumers[site.server]) == (True, FLAVOR)


def test_a_network_with_a_guaranteed_rate_is_refused(site, api):
    """A port that is made asks for what nobody has claimed."""
    make = site.neutron.port
    site.neutron.port = lambda *named, **values: make(
        *named, **{**values, "resource_request": REQUEST}
    )
    before = len(site.neutron.rows["ports"])

    with pytest.raises(OperationFailed) as refused:
        site.attach(network_id=site.network["id"])

    assert refused.value.nova_name == "NetworksWithQoSPolicyNotSupported"
    assert len(site.neutron.rows["ports"]) == before


@pytest.mark.parametrize("boundary", boundaries("attach_interface", ATTACH[:3]))
def test_killed_anywhere_an_attach_claims_once(site, api, port, boundary):
    site.killed(boundary, "attach_interface", **NOTHING | {"port_id": port["id"]})

    assert bound(site, port)
    assert api.consumers[site.server] == {**FLAVOR, "nic1": {EGRESS: 600}}


@pytest.mark.parametrize("boundary", boundaries("detach_interface", DETACH[1:4]))
def test_killed_anywhere_a_detach_gives_back_once(site, api, port, boundary):
    """Another port keeps its own share."""
    other = site.neutron.port(
        site.network, device_id=site.server,
        resource_request={"resources": {EGRESS: 100}, "required": []},
        **{"binding:profile": {"allocation": "nic1"}},
    )  # fmt: skip
    api.consumers[site.server] = {**FLAVOR, "nic1": {EGRESS: 100}}
    site.attach(port_id=port["id"])
    assert api.consumers[site.server]["nic1"] == {EGRESS: 700}

    site.killed(boundary, "detach_interface", port_id=port["id"])

    assert (free(port), other["device_id"]) == (True, site.server)
    assert api.consumers[site.server] == {**FLAVOR, "nic1": {EGRESS: 100}}
