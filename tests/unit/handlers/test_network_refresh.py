"""The network cache follows Neutron: by its events, and where events were lost."""

from __future__ import annotations

import logging

import pytest

from nova_lite.errors import NetworkUnavailable
from nova_lite.handlers.network_refresh import NetworkRefresh
from nova_lite.handlers.table import handlers
from nova_lite.loops.network_caches import NetworkCaches
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.http_cloud import Reply
from tests.fakes.neutron_host import PROJECT, wired_up


@pytest.fixture
def host(tmp_path):
    with wired_up(tmp_path) as host:
        yield host


@pytest.fixture
def server(host):
    return host.boot()


def tell(host, server, name, port=None, status="completed"):
    """An event as nova-api sends it."""
    event = WireObject.new(
        "InstanceExternalEvent", "1.5", instance_uuid=server, name=name, tag=port, status=status
    )
    handle = handlers(host.tools, host.engine)["external_instance_event"]
    handle(RequestContext({"request_id": "req-event"}), [host.get(server)], [event])
    host.settle()


def caches(host):
    return NetworkCaches(host.tools, NetworkRefresh(host.tools, host.engine).heal)


def look(host):
    """One comparison of the whole host; what was asked of Neutron by it."""
    start = len(host.cloud.calls)
    caches(host).tick()
    host.settle()
    return host.service.done(start)


def port_of(host, server):
    return host.service.ports_of(server)[0]


def add_port(host, server, host_id="host1", **values):
    """A port that somebody gives the server in Neutron alone."""
    return host.service.port(
        host.network, device_id=server, device_owner="compute:nova",
        **{"binding:host_id": host_id, "binding:vif_type": "ovs" if host_id else "unbound",
           "binding:vif_details": {"bridge_name": "br-int"}}, **values,
    )  # fmt: skip


def ids(host, server):
    return [vif["id"] for vif in host.cached(server)]


def store(host, server, text):
    """Long after this host has saved it for the last time."""
    host.tools.info_caches.remembered = 0.0
    with host.conductor.database() as tables:
        tables["InstanceInfoCache"][server]["network_info"] = text


def new_address(host, server):
    port_of(host, server)["fixed_ips"][0]["ip_address"] = "10.0.0.222"


def floating_address(host, server):
    port = port_of(host, server)
    host.service.rows["floatingips"].append(
        {"id": "f1", "port_id": port["id"], "floating_ip_address": "203.0.113.9",
         "fixed_ip_address": port["fixed_ips"][0]["ip_address"], "tenant_id": PROJECT}
    )  # fmt: skip


def new_mac(host, server):
    port_of(host, server)["mac_address"] = "fa:16:3e:99:99:99"


def profile(host, server):
    port_of(host, server)["binding:profile"] = {"trusted": "true"}


def seen(host, server):
    """What the API shows of the first port, and more."""
    (vif,) = host.cached(server)
    (ip,) = vif["network"]["subnets"][0]["ips"]
    return {
        "new_address": ip["address"] == "10.0.0.222",
        "floating_address": [f["address"] for f in ip["floating_ips"]] == ["203.0.113.9"],
        "new_mac": vif["address"] == "fa:16:3e:99:99:99",
        "profile": vif["profile"] == {"trusted": "true"},
    }


CHANGES = pytest.mark.parametrize("change", [new_address, floating_address, new_mac, profile])


# --- events ------------------------------------------------------------------------------------
@CHANGES
@pytest.mark.parametrize("tagged", [True, False])
def test_a_change_reaches_the_cache_by_its_event(host, server, change, tagged):
    change(host, server)
    assert not seen(host, server)[change.__name__]

    tell(host, server, "network-changed", port_of(host, server)["id"] if tagged else None)

    assert seen(host, server)[change.__name__]


@pytest.mark.parametrize("name", ["network-vif-unplugged", "network-vif-plugged",
                                  "accelerator-request-bound", "volume-reimaged", "power-update",
                                  "what-comes-next"])  # fmt: skip
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_events_that_nobody_waits_for_change_nothing(host, server, name, status):
    """The other events of Neutron, and those of Cyborg, Cinder and Ironic."""
    before = (host.row(server), host.cached(server), host.guests())
    start = len(host.cloud.calls)

    tell(host, server, name, port_of(host, server)["id"], status)

    assert (host.row(server), host.cached(server), host.guests()) == before
    assert (host.cloud.calls[start:], host.journal(), host.faults()) == ([], [], [])


def test_a_port_that_came_behind_novas_back_is_added_by_its_event(host, server):
    """As in stock; only the next start gives it to the guest."""
    first, new = port_of(host, server), add_port(host, server)

    tell(host, server, "network-changed")
    assert ids(host, server) == [first["id"]]
    tell(host, server, "network-changed", new["id"])

    assert ids(host, server) == [first["id"], new["id"]]


def test_but_not_while_it_is_bound_to_no_host(host, server):
    """The next start could not plug it, and the server would not start any more."""
    new = add_port(host, server, host_id="")

    tell(host, server, "network-changed", new["id"])

    assert new["id"] not in ids(host, server)


def test_events_of_two_ports_are_one_refresh(host, server):
    """None of them is forgotten by that."""
    one, two = add_port(host, server), add_port(host, server)
    refresh = NetworkRefresh(host.tools, host.engine)
    context, waiting = RequestContext.admin(), []
    after, host.engine.after = host.engine.after, lambda *job: waiting.append(job)
    for port in (one, two):
        refresh.ask(context, server, port["id"])
    host.engine.after = after

    assert len(waiting) == 1
    waiting[0][2]()
    assert ids(host, server)[1:] == [one["id"], two["id"]]


@pytest.mark.parametrize(
    ("task", "busy", "asked"),
    [(None, False, 0), (None, True, 1), ("rebuild_spawning", False, 1)],
)
def test_a_host_that_does_not_have_the_server_does_not_read_its_record(
    host, server, monkeypatch, task, busy, asked
):
    """Both hosts of a move hear of its ports. A server that comes here may be here by the time that
    the work on it ends, and one that is evacuated to this host is the other one's until then."""
    host.tools.info_caches.remembered = 0.0
    host.conductor.set(server, host="host2", task_state=task)
    monkeypatch.setattr(host.engine, "busy", lambda uuid: busy)

    assert told(host, server) == ["Instance.get_by_uuid"] * asked


def told(host, server):
    """What nova-conductor is asked after the event."""
    before = len(host.conductor.read()["calls"])
    tell(host, server, "network-changed")
    # The first one is of the test, for the message.
    return host.conductor.read()["calls"][before:][1:]


def test_what_was_done_just_now_is_not_read_again(host, server):
    """The event is about that; nobody but this host saves the cache."""
    new_address(host, server)

    assert told(host, server) == ["Instance.get_by_uuid", "InstanceInfoCache.save"]
    assert told(host, server) == []
    floating_address(host, server)
    assert told(host, server) == ["Instance.get_by_uuid", "InstanceInfoCache.save"]
    assert seen(host, server)["new_address"]
    assert seen(host, server)["floating_address"]


@pytest.mark.parametrize("fields", [{"host": "host2"}, {}])
def test_what_another_host_has_saved_since_is_not_undone(host, server, fields):
    """The server has left, or was away for a moment: what this host remembers is of before."""
    new_address(host, server)
    with host.conductor.database() as tables:
        cache = tables["InstanceInfoCache"][server]
        text = cache["network_info"].replace('"profile": {}', '"profile": {"of": "host2"}')
        cache["network_info"] = text
    before = host.cached(server)
    assert before[0]["profile"] == {"of": "host2"}
    host.conductor.set(server, **fields)

    # The event was sent while the record still named this host.
    engine_is_busy, host.engine.busy = host.engine.busy, lambda uuid: True
    tell(host, server, "network-changed")
    host.engine.busy = engine_is_busy

    if fields:
        assert host.cached(server) == before
    else:
        assert seen(host, server)["new_address"]
        assert host.cached(server)[0]["profile"] == {}


@pytest.mark.parametrize("text", ["[]", "not JSON", "[{}]", None])
@pytest.mark.parametrize("by_event", [True, False])
def test_a_lost_cache_is_made_again_in_the_order_of_the_nics(host, server, text, by_event):
    """A guest that is defined from it anew must not find its NICs exchanged."""
    # Neutron has made it earlier than the first one.
    new = add_port(host, server, created_at="2020-01-01T00:00:00Z")
    host.tools.interfaces.create(RequestContext.admin(), server, new["id"], "fa:16:3e:1:1:1", None)
    wanted = [port_of(host, server)["id"], new["id"]]
    store(host, server, text)

    if by_event:
        tell(host, server, "network-changed", wanted[0])
    else:
        look(host)

    assert ids(host, server) == wanted


# --- lost events -------------------------------------------------------------------------------
def test_a_host_as_it_should_be_costs_two_calls(host, server):
    """However many servers: up to a hundred of them, and as many ports."""
    other = host.boot()
    before = host.conductor.read()["InstanceInfoCache"]

    assert look(host) == ["GET ports as neutron", "GET floatingips as neutron"]
    assert host.conductor.read()["InstanceInfoCache"] == before
    assert len({server, other}) == 2


@CHANGES
def test_a_change_whose_event_was_lost_is_found(host, server, change):
    """Of this server alone: the other one is left alone."""
    other = host.boot()
    untouched = host.cached(other)
    change(host, server)

    asked = look(host)

    assert seen(host, server)[change.__name__]
    assert host.cached(other) == untouched
    assert not [call for call in asked if not call.startswith("GET")]


@pytest.mark.parametrize("host_id", ["host1", ""])
def test_a_port_that_came_behind_novas_back_is_found(host, server, host_id):
    """It is bound to the host, as by nova-compute's heal_instance_info_cache_interval."""
    first, new = port_of(host, server), add_port(host, server, host_id=host_id)

    look(host)

    assert ids(host, server) == [first["id"], new["id"]]
    assert (new["binding:host_id"], new["binding:vif_type"]) == ("host1", "ovs")


def test_a_deleted_port_is_taken_from_the_guest(host, server):
    """The event network-vif-deleted was lost."""
    gone = port_of(host, server)
    host.service.rows["ports"].remove(gone)

    look(host)

    assert (ids(host, server), list(host.vifs.ports)) == ([], [])
    assert host.hypervisor.guests[server].spec.nics == ()


@pytest.mark.parametrize("task_state", [None, "rebuilding"])
def test_a_port_bound_elsewhere_comes_back_where_nobody_moves_the_server(
    host, server, task_state
):
    """An evacuation has failed after it had bound the ports to the other host."""
    port = port_of(host, server)
    port["binding:host_id"] = "host2"
    host.conductor.set(server, task_state=task_state)

    look(host)

    assert port["binding:host_id"] == ("host1" if task_state is None else "host2")


@pytest.mark.parametrize(
    "fields",
    [{"vm_state": "building"}, {"task_state": "deleting"}, {"host": "host2", "node": "host2"}],
)
def test_servers_of_others_are_left_alone(host, server, fields):
    """Who builds or deletes a server has its cache, and so has its other host."""
    before = host.cached(server)
    new_address(host, server)
    host.conductor.set(server, **fields)

    look(host)
    NetworkRefresh(host.tools, host.engine).heal(server)
    host.settle()

    assert host.cached(server) == before


def test_one_comparison_is_enough_until_events_may_be_lost_again(host, server):
    """Unless [DEFAULT]heal_instance_info_cache_interval asks for more."""
    found = caches(host)
    found.tick()
    start = len(host.cloud.calls)

    found.tick()
    assert len(host.cloud.calls) == start
    found.look_again()
    found.tick()
    assert len(host.cloud.calls) == start + 2
    host.conf.set_override("heal_instance_info_cache_interval", 60)
    often = caches(host)
    often.tick()
    often.tick()
    assert len(host.cloud.calls) == start + 6


def test_a_neutron_that_is_away_is_asked_again(host, server):
    """The comparison is still due."""
    host.service.before.insert(0, lambda call: Reply(503))
    found = caches(host)
    with pytest.raises(NetworkUnavailable):
        found.tick()
    del host.service.before[0]
    new_address(host, server)

    found.tick()
    host.settle()

    assert seen(host, server)["new_address"]


def test_a_refresh_that_fails_says_so_and_changes_nothing(host, server, caplog):
    """Whoever comes next does it: the next event, or the next start of the guest."""
    caplog.set_level(logging.WARNING)
    before = host.cached(server)
    new_address(host, server)
    host.service.before.insert(0, lambda call: Reply(503))

    tell(host, server, "network-changed")

    assert host.cached(server) == before
    assert f"Could not refresh the network cache of server {server}" in caplog.text
