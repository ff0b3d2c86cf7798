"""What operations rely on of Neutron's ports and Placement's allocations.

Held against the real clients, before an in-memory Neutron and Placement, and against the stand-ins
of the functional tests, whose state survives a killed agent.
"""

from __future__ import annotations

import pytest

from nova_lite.clients.neutron import Neutron
from nova_lite.clients.placement import Placement
from nova_lite.clients.session import Sessions
from nova_lite.errors import (
    FixedIpNotFoundForInstance,
    NetworkNotFoundForInstance,
    PortInUse,
    PortNotFound,
)
from nova_lite.model.server import Flavor, Image, Server
from nova_lite.services.port_requests import PortRequest
from nova_lite.services.ports import Ports
from nova_lite.wire.context import RequestContext
from tests.fakes.cloud import FakePlacement, Ledger
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud
from tests.fakes.ledger_ports import FakePorts
from tests.fakes.neutron import FakeNeutron
from tests.fakes.placement import FakePlacementApi

CONTEXT = RequestContext(
    {"auth_token": "alice-token", "user_id": "u", "roles": ["member"], "request_id": "req-1"}
)


def server(number):
    return Server(
        uuid=f"344a912{number}-b410-41e7-af51-fddb339207ce",
        domain_name=f"instance-0000000{number}",
        display_name="s",
        hostname="s",
        flavor=Flavor("f", "1", 1, 64, 1),
        image=Image(None),
        project_id="alice",
        availability_zone="az1",
    )


@pytest.fixture
def real_ports(tmp_path):
    cloud = HttpCloud()
    cloud.tokens["alice-token"] = "alice"
    neutron = FakeNeutron(cloud)
    network = neutron.network("alice")
    neutron.subnet(network)
    conf = read_conf(tmp_path, {"neutron": cloud.credentials("neutron")})
    made = Ports(Neutron(Sessions(conf)), conf)
    made.neutron = Neutron(Sessions(conf)).admin()
    yield made, network["id"]
    cloud.close()


@pytest.fixture(params=["stand-in", "real"])
def ports(request, tmp_path):
    """The ports, and a network."""
    if request.param == "real":
        return request.getfixturevalue("real_ports")
    return FakePorts(Ledger(tmp_path / "cloud.json")), "net-1"


def allocate(ports, number=1):
    service, network = ports
    return service.allocate(CONTEXT, server(number), [PortRequest(network)], [], "host1")


def known_ids(ports, vifs, number=1):
    fresh = ports[0].refresh(CONTEXT, server(number).uuid, vifs)
    return [vif.id for vif in fresh]


def test_only_the_server_s_own_ports_may_be_active(ports):
    """Whatever is wired up, it is among the ports made for the server."""
    mine, other = allocate(ports), allocate(ports, 2)

    active = ports[0].active(CONTEXT, server(1).uuid)

    assert active <= {vif.id for vif in mine}
    assert not active & {vif.id for vif in other}


def test_a_port_is_made_once(ports):
    """A boot that was killed finds the port that it made, and no other server's."""
    first = allocate(ports)

    again, other = allocate(ports), allocate(ports, 2)

    assert [vif.id for vif in again] == [vif.id for vif in first]
    assert other[0].id != first[0].id
    assert other[0].mac != first[0].mac


def test_a_port_is_made_for_a_guest(ports):
    """What plugging and the guest need is there."""
    (vif,) = allocate(ports)

    assert (vif.vif_type, vif.vnic_type, vif.network.bridge) == ("ovs", "normal", "br-int")
    assert vif.devname.startswith("tap") and len(vif.devname) <= 14
    assert len(vif.mac) == 17 and vif.network.subnets[0].ips


def active(ports, port_id):
    return {host: one.active for host, one in ports[0].bindings.of(CONTEXT, port_id).items()}


def test_a_port_is_bound_to_a_second_host(ports):
    """Once, beside the one that it is bound to."""
    (vif,) = allocate(ports)
    bindings = ports[0].bindings

    made = bindings.make(CONTEXT, vif.id, "host2")
    again = bindings.make(CONTEXT, vif.id, "host2")

    assert (made.host, made.active, made.vif_type) == (again.host, again.active, again.vif_type)
    assert active(ports, vif.id) == {"host1": True, "host2": False}


def test_a_port_is_switched_to_the_other_host(ports):
    """Whoever asks a second time has success; without a binding there it stays where it is."""
    (vif,), (other,) = allocate(ports), allocate(ports, 2)
    bindings = ports[0].bindings
    bindings.make(CONTEXT, vif.id, "host2")

    for _ in range(2):
        assert bindings.activate(CONTEXT, [vif.id, other.id], "host2") == {vif.id}

    assert active(ports, vif.id) == {"host1": False, "host2": True}
    assert active(ports, other.id) == {"host1": True}


def test_only_a_binding_that_is_not_active_is_dropped(ports):
    """The other one is all that the port has."""
    (vif,) = allocate(ports)
    bindings = ports[0].bindings
    bindings.make(CONTEXT, vif.id, "host2")

    assert bindings.drop(CONTEXT, [vif.id], "host1") == set()
    assert bindings.drop(CONTEXT, [vif.id], "host2") == {vif.id}
    assert bindings.drop(CONTEXT, [vif.id], "host2") == {vif.id}
    assert active(ports, vif.id) == {"host1": True}


def test_ports_are_taken_away_with_their_server(ports):
    """Once or twice; another server's stay."""
    mine, others = allocate(ports), allocate(ports, 2)

    for _ in range(2):
        ports[0].deallocate(CONTEXT, server(1).uuid, [])

    assert known_ids(ports, mine) == []
    assert known_ids(ports, others, 2) == [others[0].id]


def test_ports_leave_their_host_and_come_back(ports):
    """Twice each way; meanwhile they are the server's and lead nowhere."""
    known = allocate(ports)

    for _ in range(2):
        ports[0].unbind(CONTEXT, server(1).uuid, "host1")
    off = ports[0].refresh(CONTEXT, server(1).uuid, known)
    for _ in range(2):
        back = ports[0].bind(CONTEXT, server(1), known, "host1")

    assert [(vif.id, vif.vif_type) for vif in off] == [(known[0].id, "unbound")]
    assert [(vif.id, vif.vif_type) for vif in back] == [(known[0].id, "ovs")]


def prepared(ports):
    """A port of a server on host1 that has an inactive binding to host2."""
    (vif,) = allocate(ports)
    service = ports[0]
    if isinstance(service, FakePorts):
        with service.ledger.open() as content:
            content["beside"] = {vif.id: ["host2"]}
    else:
        service.neutron.create_port_binding(vif.id, "host2", vnic_type="normal")
    return vif


def bound(ports):
    """Hosts of the active and of the inactive bindings of all ports."""
    service = ports[0]
    if isinstance(service, FakePorts):
        content = service.ledger.read()
        return sorted(content["bound"].values()), sum(content["beside"].values(), [])
    rows = service.neutron.ports()
    found = [row for port in rows for row in service.neutron.port_bindings(port["id"])]
    return tuple(
        sorted(row["host"] for row in found if row["status"] == status)
        for status in ("ACTIVE", "INACTIVE")
    )


def test_a_port_is_switched_to_another_host_and_back(ports):
    """Once or twice; the other binding is kept."""
    prepared(ports)
    bindings = ports[0].host_bindings

    for host, other in (("host2", "host1"), ("host1", "host2")):
        for _ in range(2):
            assert bindings.activate(CONTEXT, server(1).uuid, host)
            assert bound(ports) == ([host], [other])


def test_a_port_without_a_binding_to_a_host_is_not_switched(ports):
    """It is told."""
    allocate(ports)

    assert not ports[0].host_bindings.activate(CONTEXT, server(1).uuid, "host2")

    assert ports[0].host_bindings.activate(CONTEXT, server(1).uuid, "host1")


def test_a_port_is_handed_back_by_the_host_that_has_it(ports):
    """One that is bound to a third host by now stays there."""
    prepared(ports)
    bindings, uuid = ports[0].host_bindings, server(1).uuid
    bindings.activate(CONTEXT, uuid, "host2")

    bindings.hand_back(CONTEXT, uuid, "host3", "host1")
    assert bound(ports) == (["host2"], ["host1"])

    for _ in range(2):
        assert bindings.hand_back(CONTEXT, uuid, "host2", "host1")
        assert bound(ports) == (["host1"], ["host2"])


def test_only_what_is_left_for_a_host_is_removed(ports):
    """The active binding stays: the port would be on no host."""
    prepared(ports)

    for host in ("host1", "host2", "host2"):
        ports[0].host_bindings.remove(CONTEXT, server(1).uuid, host)

    assert bound(ports) == (["host1"], [])


# --- one port at a time -------------------------------------------------------------------------
def attach(ports, name="attach-1", number=1, **asked):
    service, network = ports
    request = PortRequest(**(asked or {"network_id": network}))
    chosen = service.attachments.choose(CONTEXT, server(number), request, name)
    made = request.port_id is None
    return service.attachments.bind(CONTEXT, server(number), chosen, "host1", made=made)


def free(ports, vif):
    """Make it a port that nobody has."""
    ports[0].attachments.release(CONTEXT, server(1).uuid, vif.id, made=False)


def test_a_port_is_attached_beside_the_others(ports):
    """Neither attaching nor releasing it touches another port."""
    (first,) = allocate(ports)

    vif = attach(ports)

    assert (vif.vif_type, vif.preserve, vif.id == first.id) == ("ovs", False, False)
    assert known_ids(ports, [first, vif]) == [first.id, vif.id]
    for _ in range(2):
        ports[0].attachments.release(CONTEXT, server(1).uuid, vif.id, made=True)
    assert known_ids(ports, [first, vif]) == [first.id]
    assert ports[0].gone(CONTEXT, [vif.id]) == {vif.id}


def test_a_port_that_was_made_is_found_by_its_name(ports):
    """Until it is bound; under another name another one is made."""
    service, network = ports
    ask = CONTEXT, server(1), PortRequest(network)
    first = service.attachments.choose(*ask, "attach-1")

    again = service.attachments.choose(*ask, "attach-1", asked_before=True)
    other = service.attachments.choose(*ask, "attach-2", asked_before=True)

    assert again.id == first.id != other.id
    service.attachments.bind(CONTEXT, server(1), again, "host1", made=True, name="attach-1")
    service.attachments.release(CONTEXT, server(1).uuid, None, made=False, name="attach-1")
    service.attachments.release(CONTEXT, server(1).uuid, None, made=False, name="attach-2")
    assert service.gone(CONTEXT, [first.id, other.id]) == {other.id}


def test_a_port_that_somebody_has_made_is_kept(ports):
    """It is free again, however often it is released, and can be attached again."""
    vif = attach(ports)
    free(ports, vif)

    again = attach(ports, port_id=vif.id)
    for _ in range(2):
        ports[0].attachments.release(CONTEXT, server(1).uuid, vif.id, made=False)

    assert (again.id, again.preserve) == (vif.id, True)
    assert known_ids(ports, [vif]) == []
    assert ports[0].gone(CONTEXT, [vif.id]) == set()


def test_a_port_that_somebody_has_is_not_attached(ports):
    """The server itself, or another one; nor is one that is not there."""
    mine, (others,) = attach(ports), allocate(ports, 2)
    for vif in (mine, others):
        with pytest.raises(PortInUse):
            attach(ports, port_id=vif.id)
    with pytest.raises(PortNotFound):
        attach(ports, port_id="99999999-b410-41e7-af51-fddb339207ce")

    ports[0].attachments.release(CONTEXT, server(1).uuid, others.id, made=True)
    assert known_ids(ports, [others], 2) == [others.id]


# --- addresses of ports ---------------------------------------------------------------------------
def addresses(service, vif):
    """Those that the network cache is to show."""
    (seen,) = service.refresh(CONTEXT, server(1).uuid, [vif])
    return [ip.address for subnet in seen.network.subnets for ip in subnet.ips]


def test_an_address_is_added_once(ports):
    """However often it is asked for with what was there before."""
    service, network = ports
    (vif,) = allocate(ports)
    before = service.fixed_ips.on_network(CONTEXT, server(1).uuid, network)
    assert before == {vif.id: addresses(service, vif)}

    for _ in range(2):
        service.fixed_ips.add(CONTEXT, server(1).uuid, network, before)

    assert len(addresses(service, vif)) == 2
    with pytest.raises(NetworkNotFoundForInstance):
        service.fixed_ips.on_network(CONTEXT, server(2).uuid, network)


def test_an_address_is_taken_away(ports):
    """Twice; nobody has it afterwards."""
    service, _ = ports
    (vif,) = allocate(ports)
    (address,) = addresses(service, vif)
    fixed_ips, uuid = service.fixed_ips, server(1).uuid
    assert fixed_ips.port_with(CONTEXT, uuid, address) == vif.id

    for _ in range(2):
        fixed_ips.remove(CONTEXT, uuid, vif.id, address)

    assert addresses(service, vif) == []
    with pytest.raises(FixedIpNotFoundForInstance):
        fixed_ips.port_with(CONTEXT, uuid, address)


def real_placement(tmp_path):
    api = FakePlacementApi()
    api.add("node", "host1")
    api.use("s1", "node", VCPU=1)
    return Placement(api)


def stand_in(tmp_path):
    ledger = Ledger(tmp_path / "cloud.json")
    with ledger.open() as content:
        content["allocations"] = {"s1": {"node": {"VCPU": 1}}}
    return FakePlacement(ledger)


@pytest.mark.parametrize("make", [stand_in, real_placement])
def test_allocations_are_deleted_once(make, tmp_path):
    """The first call says that there was one; a repeated one succeeds and says that not."""
    placement = make(tmp_path)

    assert placement.delete_allocations("s1") is True
    assert placement.delete_allocations("s1") is False
    assert placement.delete_allocations("s2") is False


def test_a_port_that_was_deleted_is_told_from_one_that_moved_on(ports):
    """Only of the former nothing is left in Neutron."""
    mine, other = allocate(ports), allocate(ports, 2)
    deleted = [vif.id for vif in mine]
    ports[0].deallocate(CONTEXT, server(1).uuid, ())

    assert ports[0].gone(CONTEXT, [*deleted, *(vif.id for vif in other)]) == set(deleted)
    assert ports[0].gone(CONTEXT, []) == set()
