"""Ports deleted under a server: nothing of them stays, whoever comes to know of it, and when."""

from __future__ import annotations

import json

import pytest

from nova_lite.engine import patience
from nova_lite.errors import ControlPlaneUnavailable, JournalError, SwitchUnavailable
from nova_lite.handlers.table import handlers
from nova_lite.loops.stray_interfaces import StrayInterfaces
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.killed import Killed, until_killed
from tests.fakes.one_host import OneHost

HARD = {"reboot_type": "HARD", "block_device_info": None}
STEPS = ("detach_nic", "unplug_port", "forget_port")
KILLS = ["detach_deleted_port:accepted"] + [
    f"detach_deleted_port:{step}:{phase}" for step in STEPS for phase in ("begin", "end")
]


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setitem(patience.PATIENCE, SwitchUnavailable, 0.05)


@pytest.fixture
def host(tmp_path):
    return OneHost(tmp_path)


@pytest.fixture
def server(host):
    """A server with two ports, that runs here."""
    with host.ledger.open() as content:
        content["ports_each"] = 2
    return host.boot()


def ports(host):
    return sorted(host.ledger.read()["ports"])


def delete_port(host, server, number=1):
    """Neutron deletes it; its event is lost. Returns the port's id."""
    port = cached(host, server)[number]
    with host.ledger.open() as content:
        del content["ports"][port]
    return port


def cached(host, server):
    """Ids of the ports in the network cache."""
    text = host.conductor.read()["InstanceInfoCache"][server]["network_info"]
    return [vif["id"] for vif in json.loads(text)]


def empty_cache(host, server, *, but=0):
    """What nova-api, or an agent that knew no better, has left of the network cache."""
    with host.conductor.database() as tables:
        row = tables["InstanceInfoCache"][server]
        row["network_info"] = json.dumps(json.loads(row["network_info"])[:but])


def nics(host, server):
    return [nic.target for nic in host.hypervisor.guests[server].spec.nics]


def tell(host, server, name, port, request="req-event"):
    """An event as nova-api sends it."""
    event = WireObject.new(
        "InstanceExternalEvent", "1.5", instance_uuid=server, name=name, tag=port,
        status="completed", data={},
    )  # fmt: skip
    handle = handlers(host.tools, host.engine)["external_instance_event"]
    handle(RequestContext({"request_id": request}), [host.get(server)], [event])
    host.settle()


def run(host, method, server, **arguments):
    host.send(method, server, **arguments)
    host.settle()


def do(host, server, method, task_state, **arguments):
    host.conductor.set(server, task_state=task_state)
    run(host, method, server, **arguments)


def delete(host, server):
    do(host, server, "terminate_instance", "deleting", bdms=None)
    assert host.conductor.instance(server)["deleted"]


def start(host, server):
    do(host, server, "start_instance", "powering-on")


def stop(host, server):
    do(host, server, "stop_instance", "powering-off", clean_shutdown=False)


def reboot(host, server):
    do(host, server, "reboot_instance", "rebooting_hard", **HARD)


# --- the event ---------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["network-vif-deleted", "network-changed"])
@pytest.mark.parametrize("off", [True, False])
def test_a_deleted_port_leaves_guest_switch_and_cache(host, server, name, off):
    """As in stock; so it does when only a refresh finds that it is gone."""
    if off:
        stop(host, server)
    kept, gone = cached(host, server)
    delete_port(host, server)

    tell(host, server, name, gone)

    assert (list(host.vifs.ports), cached(host, server)) == ([kept], [kept])
    assert nics(host, server) == [f"tap{kept}"[:14]]
    assert host.row(server)[1:3] == ("stopped" if off else "active", None)
    assert host.journal() == []


def test_the_port_is_known_until_it_is_unplugged(host, server):
    """Who is killed in between, or fails, leaves the cache as it was."""
    gone = delete_port(host, server)
    host.vifs.dead = True

    tell(host, server, "network-vif-deleted", gone)

    assert gone in cached(host, server)
    assert gone in host.vifs.ports


def test_a_message_that_comes_twice_changes_nothing(host, server):
    """With the same request id, or with another one."""
    gone = delete_port(host, server)
    for request in ("req-1", "req-1", "req-2"):
        tell(host, server, "network-vif-deleted", gone, request)

    assert gone not in cached(host, server)
    assert len(host.vifs.ports) == len(cached(host, server)) == 1


def test_a_full_disk_is_no_reason_to_forget_the_port(host, server, monkeypatch, caplog):
    """Nothing can be promised; the next start, or delete, finds the interface."""
    kept, gone = cached(host, server)
    delete_port(host, server)

    def refuse(*arguments):
        raise JournalError("no space left on device")

    with monkeypatch.context() as full:
        full.setattr(host.engine, "begin", refuse)
        tell(host, server, "network-vif-deleted", gone)

    assert any(gone in message and "no space" in message for message in caplog.messages)
    assert cached(host, server) == [kept, gone]
    reboot(host, server)
    assert (list(host.vifs.ports), cached(host, server)) == ([kept], [kept])


def test_a_port_that_neutron_has_stays(host, server):
    """Whoever may send events may be wrong."""
    before = cached(host, server)

    tell(host, server, "network-vif-deleted", before[1])

    assert (cached(host, server), sorted(host.vifs.ports)) == (before, sorted(before))
    assert len(nics(host, server)) == 2


def test_a_server_of_another_host_is_not_touched(host, server):
    """Both hosts of a move hear of it; the other one's cache is not ours to change."""
    gone = delete_port(host, server)
    before = cached(host, server)
    host.conductor.set(server, host="host2", node="host2")

    tell(host, server, "network-vif-deleted", gone)

    assert cached(host, server) == before
    assert len(nics(host, server)) == 2
    assert host.journal() == []


def test_a_port_that_only_the_switch_knows_is_unplugged(host, server):
    """The network cache had forgotten it."""
    gone = delete_port(host, server)
    empty_cache(host, server, but=1)

    tell(host, server, "network-vif-deleted", gone)

    assert gone not in host.vifs.ports
    assert len(nics(host, server)) == 1


def test_a_port_that_is_somebody_elses_by_now_leaves_the_cache_at_once(host, server):
    """Its interface goes when the guest is started anew; Neutron has the port still."""
    kept, lost = cached(host, server)
    with host.ledger.open() as content:
        content["ports"][lost] = "another server"

    tell(host, server, "network-changed", lost)

    assert cached(host, server) == [kept]
    assert len(nics(host, server)) == 2
    reboot(host, server)
    assert (list(host.vifs.ports), len(nics(host, server))) == ([kept], 1)


@pytest.mark.parametrize("verb", ["delete", "reboot"])
def test_a_port_that_another_server_has_by_now_keeps_its_interface(host, server, verb):
    """Both are on this host, and the name of the tap is the port's."""
    other = "99999999-b410-41e7-af51-fddb339207ce"
    moved = cached(host, server)[1]
    (vif,) = [v for v in host.vifs.plugged_vifs(server)[server] if v.id == moved]
    with host.ledger.open() as content:
        content["ports"][moved] = other
    host.vifs.plug(vif, server_uuid=other, server_name="", project_id="")

    {"delete": delete, "reboot": reboot}[verb](host, server)

    assert host.vifs.ports[moved] == other
    assert moved in ports(host)


def test_the_ports_of_a_server_that_is_being_deleted_go_with_it(host, server):
    """Neutron tells of each that the delete itself has deleted."""
    host.conductor.set(server, task_state="deleting")

    tell(host, server, "network-vif-deleted", delete_port(host, server))

    assert len(nics(host, server)) == 2
    assert host.journal() == []


@pytest.mark.parametrize("boundary", KILLS)
def test_killed_anywhere_it_goes_on(host, server, boundary, monkeypatch):
    """The journal has which port it was."""

    def observe(passed):
        if passed == boundary:
            raise Killed

    kept, gone = cached(host, server)
    delete_port(host, server)
    host.restart(observe)
    with until_killed():
        host.send("detach_deleted_port", server, port_id=gone)
    host.restart()
    host.engine.resume()
    host.settle()

    assert (list(host.vifs.ports), cached(host, server)) == ([kept], [kept])
    assert (len(nics(host, server)), host.journal()) == (1, [])


# --- guests that keep it -----------------------------------------------------------------------
def hold(host, server, how):
    if how == "paused":
        do(host, server, "pause_instance", "pausing")
    elif how == "suspended":
        do(host, server, "suspend_instance", "suspending")
    elif how == "rescued":
        host.conductor.set(server, vm_state="rescued")
    else:
        host.hypervisor.stubborn.add(server)


@pytest.mark.parametrize("how", ["paused", "suspended", "rescued", "stubborn"])
def test_a_guest_that_cannot_release_it_keeps_it_for_the_time_being(host, server, how, caplog):
    """Nobody waits for such a guest, and it still goes on; the next start gives it up."""
    hold(host, server, how)
    kept, gone = cached(host, server)
    delete_port(host, server)

    tell(host, server, "network-vif-deleted", gone)

    assert cached(host, server) == [kept, gone]
    assert (gone in host.vifs.ports, len(nics(host, server))) == (True, 2)
    assert any(gone in message and "started anew" in message for message in caplog.messages)
    if how == "rescued":
        host.conductor.set(server, vm_state="active")
    reboot(host, server)
    assert (list(host.vifs.ports), cached(host, server)) == ([kept], [kept])
    assert len(nics(host, server)) == 1


def test_saved_memory_goes_on_with_the_interface_that_it_knows(host, server):
    """Its tap is there again after the host was off, though the port is gone."""
    do(host, server, "suspend_instance", "suspending")
    kept, gone = cached(host, server)
    delete_port(host, server)
    host.vifs.ports.clear()

    do(host, server, "resume_instance", "resuming")

    assert host.guests() == {server: "RUNNING"}
    assert sorted(host.vifs.ports) == sorted([kept, gone])
    assert cached(host, server) == [kept, gone]


# --- no event ----------------------------------------------------------------------------------
def nothing(host, server):
    """The event was lost."""


def forgotten(host, server):
    """An agent has dropped the port from the cache, and nothing else."""
    empty_cache(host, server, but=1)


LOST = pytest.mark.parametrize("lose", [nothing, forgotten])


@LOST
@pytest.mark.parametrize(
    "verbs", [(delete,), (reboot, delete), (stop, delete), (stop, start, delete)]
)
def test_nothing_stays_in_the_switch(host, server, lose, verbs):
    """Whatever is done with the server afterwards, its interfaces go with it."""
    delete_port(host, server)
    lose(host, server)

    for verb in verbs:
        verb(host, server)

    assert (host.vifs.ports, host.guests(), ports(host)) == ({}, {}, [])


@LOST
@pytest.mark.parametrize("verbs", [(reboot,), (stop, start)])
def test_a_guest_that_is_defined_anew_has_its_ports_and_no_other(host, server, lose, verbs):
    """The interface of the deleted one leaves the switch and the cache with the definition."""
    kept, gone = cached(host, server)
    delete_port(host, server)
    lose(host, server)

    for verb in verbs:
        verb(host, server)

    assert (list(host.vifs.ports), cached(host, server)) == ([kept], [kept])
    assert len(nics(host, server)) == 1
    assert host.row(server) == ("host1", "active", None, 1)


def test_a_redefinition_that_fails_forgets_nothing(host, server):
    """The port is still in the cache, for the next one."""
    stop(host, server)
    gone = delete_port(host, server)
    host.vifs.broken.add(cached(host, server)[0])
    host.vifs.dead = True

    start(host, server)

    assert host.row(server)[1] == "stopped"
    assert gone in cached(host, server)


@pytest.mark.parametrize("method", ["shelve_offload_instance", "terminate_instance"])
def test_with_an_empty_cache_all_goes_too(host, server, method):
    """nova-api empties it when it deletes a server whose host is down."""
    arguments = {"bdms": None} if method == "terminate_instance" else {"clean_shutdown": False}
    state = "deleting" if method == "terminate_instance" else "shelving_offloading"
    host.conductor.set(server, vm_state="shelved" if "shelve" in method else "active")
    empty_cache(host, server)

    do(host, server, method, state, **arguments)

    assert (host.vifs.ports, host.guests()) == ({}, {})


# --- a switch that is dead ---------------------------------------------------------------------
def look_for_strays(host):
    tools = host.tools
    StrayInterfaces(
        "host1", tools.instances, tools.migrations, tools.hypervisor, tools.vif_driver, host.engine
    ).tick()
    host.settle()


def test_a_delete_does_not_wait_for_a_dead_switch(host, server):
    """As in stock; what stays in the switch is removed when that is back."""
    host.vifs.dead = True

    delete(host, server)

    assert (host.guests(), len(host.vifs.ports)) == ({}, 2)
    assert host.row(server)[1] == "deleted"
    look_for_strays(host)
    assert len(host.vifs.ports) == 2
    host.vifs.dead = False
    look_for_strays(host)
    assert host.vifs.ports == {}


def offload(host, server):
    host.conductor.set(server, vm_state="shelved")
    do(host, server, "shelve_offload_instance", "shelving_offloading", clean_shutdown=False)


def test_nor_does_an_offload(host, server):
    """The server lives, but on no host."""
    host.vifs.dead = True
    offload(host, server)
    host.vifs.dead = False

    look_for_strays(host)

    assert host.row(server)[:2] == (None, "shelved_offloaded")
    assert host.vifs.ports == {}


def leave_interfaces(host, server):
    """The guest is gone, the interfaces are not."""
    del host.hypervisor.guests[server]


@pytest.mark.parametrize(
    "fields",
    [{"deleted": True}, {"host": "host2"}, {"host": None}, {"deleted": True, "host": "host2"}],
)
def test_interfaces_of_a_server_that_is_not_here_go(host, server, fields):
    """Deleted, on another host, or on none."""
    leave_interfaces(host, server)
    host.conductor.set(server, **fields)

    look_for_strays(host)

    assert host.vifs.ports == {}


def arrive(host, server):
    host.conductor.set(server, host="host2")
    host.migrate(server, "running", "live-migration", source="host2", target="host1")


def belong_to_no_server(host, server):
    with host.conductor.database() as tables:
        del tables["Instance"][server]


def be_here(host, server):
    """The guest will be defined again."""


@pytest.mark.parametrize("be", [arrive, belong_to_no_server, be_here])
def test_other_interfaces_are_left_alone(host, server, be):
    """Of a server that is on its way here, of no server of this cloud, of one of this host."""
    leave_interfaces(host, server)
    be(host, server)

    look_for_strays(host)

    assert len(host.vifs.ports) == 2


def test_while_the_cloud_is_away_nothing_is_decided(host, server):
    """It is looked at later."""
    leave_interfaces(host, server)
    host.conductor.set(server, deleted=True)

    def away(*_, **__):
        raise ControlPlaneUnavailable("nova-conductor does not answer")

    host.tools.instances.get, get = away, host.tools.instances.get
    look_for_strays(host)
    assert len(host.vifs.ports) == 2
    host.tools.instances.get = get
    look_for_strays(host)
    assert host.vifs.ports == {}


def test_the_cache_is_readable(host, server):
    """What is saved is network info, with all that was in it."""
    gone = delete_port(host, server)
    tell(host, server, "network-vif-deleted", gone)

    text = host.conductor.read()["InstanceInfoCache"][server]["network_info"]
    (vif,) = network_info.load(text)
    assert (vif.vif_type, vif.network.bridge) == ("ovs", "br-int")
