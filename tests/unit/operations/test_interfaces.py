"""Interfaces attached to servers and detached, before a Neutron that loses answers, and killed."""

from __future__ import annotations

import functools
import json
import threading

import pytest

from nova_lite import errors
from nova_lite.clients.neutron import Api, Neutron
from nova_lite.clients.session import Sessions
from nova_lite.engine import patience
from nova_lite.failures import OperationFailed
from nova_lite.services.ports import Ports
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply
from tests.fakes.killed import Killed, until_killed
from tests.fakes.neutron import FakeNeutron, error
from tests.fakes.one_host import OneHost, boot_arguments, recorded

PROJECT = recorded()["instance"]["nova_object.data"]["project_id"]
NETWORK = boot_arguments()["requested_networks"]["nova_object.data"]["objects"][0][
    "nova_object.data"
]["network_id"]
TOKEN = {"auth_token": "user-token", "user_id": "u", "roles": ["member"], "project_id": PROJECT}
NOTHING = {"network_id": None, "port_id": None, "requested_ip": None, "tag": None}
ATTACH = ("choose_port", "bind_port", "record_port", "plug_port", "attach_nic", "describe_nic",
          "describe_ports")  # fmt: skip
DETACH = ("unplug_nic", "unplug_port", "release_port", "forget_interface", "untag_nic",
          "describe_ports")  # fmt: skip
DETAILS = ("binding:vif_details", "binding:profile", "revision_number")
OTHER = "99999999-b410-41e7-af51-fddb339207ce"


def boundaries(method, steps):
    ends = [f"{method}:accepted", f"{method}:finished"]
    return ends + [f"{method}:{step}:{phase}" for step in steps for phase in ("begin", "end")]


class Site:
    """One host before a Neutron with one network, and a server with one port."""

    def __init__(self, directory):
        self.cloud = HttpCloud()
        self.cloud.tokens["user-token"] = PROJECT
        self.neutron = FakeNeutron(self.cloud)
        self.network = self.neutron.network(PROJECT, id=NETWORK)
        self.neutron.subnet(self.network)
        # Ports are wired up at once: nobody waits for an event.
        self.neutron.port = functools.partial(self.neutron.port, status="ACTIVE")
        (directory / "neutron").mkdir()
        conf = read_conf(
            directory / "neutron",
            {"neutron": {**self.cloud.credentials("neutron"), "connect_retries": "0"}},
        )
        self.host = OneHost(directory)
        self.host._parts["ports"] = Ports(Neutron(Sessions(conf)), conf, ManualClock())
        self.host.restart()
        self.server = self._boot()

    def _boot(self):
        host = self.host
        server, arguments = host.schedule(), boot_arguments()
        host.send("build_and_run_instance", server, context=TOKEN, **arguments)
        host.settle()
        with host.conductor.database() as tables:
            tables["events"] = []
        assert host.row(server) == ("host1", "active", None, 1)
        return server

    # --- asking ---------------------------------------------------------------------------------
    def attach(self, **arguments):
        """The answer; raises OperationFailed as the caller would."""
        entry = self.ask("attach_interface", **NOTHING | arguments)
        return entry.answer.result(30)

    def detach(self, port_id):
        self.ask("detach_interface", port_id=port_id)

    def ask(self, method, context=TOKEN, **arguments):
        entry = self.host.send(method, self.server, context=context, **arguments)
        self.host.settle()
        return entry

    def port(self, **values):
        """A port that the user has made."""
        return self.neutron.port(self.network, **values)["id"]

    def do(self, method, task_state, **arguments):
        self.host.conductor.set(self.server, task_state=task_state)
        self.ask(method, **arguments)

    def stop(self):
        self.do("stop_instance", "powering-off", clean_shutdown=False)

    def pause(self):
        self.do("pause_instance", "pausing")

    def killed(self, boundary, method, **arguments):
        """The agent dies at a boundary, and another one goes on."""
        reached = threading.Event()

        def observe(passed):
            if passed == boundary:
                reached.set()
            if reached.is_set():
                raise Killed

        self.host.restart(observe)
        with until_killed():
            self.host.send(method, self.server, context=TOKEN, **arguments)
        self.resume()

    def resume(self):
        self.host.restart()
        self.host.engine.resume()
        self.host.settle()

    # --- looking --------------------------------------------------------------------------------
    def cached(self):
        text = self.host.conductor.read()["InstanceInfoCache"][self.server]["network_info"]
        return json.loads(text)

    def look(self):
        """The ports of the server by all who know of them."""
        tables = self.host.conductor.read()
        nics = self.host.hypervisor.guests[self.server].spec.nics
        taps = {f"tap{row['id']}"[:14]: row["id"] for row in self.neutron.rows["ports"]}
        return {
            "neutron": sorted(row["id"] for row in self.neutron.ports_of(self.server)),
            "bound": sorted(
                row["id"] for row in self.neutron.rows["ports"] if row["binding:host_id"]
            ),
            "cache": sorted(vif["id"] for vif in self.cached()),
            "records": sorted(tables["VirtualInterface"]),
            "switch": sorted(self.host.vifs.ports),
            "guest": sorted(taps.get(nic.target, nic.target) for nic in nics),
        }

    def told(self):
        """The ports in the metadata of the guest."""
        said = self.host.hypervisor.guests[self.server].spec.metadata["ports"]
        return sorted(port["uuid"] for port in said)

    def all_know(self, *ports):
        """Whether they agree on these ports, and nothing is open."""
        seen = self.look()
        return all(found == sorted(ports) for found in seen.values()) and not self.host.journal()

    def events(self):
        return [(name, phase) for name, phase, _ in self.host.events()]

    def faults(self):
        return [row["message"] for row in self.host.conductor.read()["InstanceFault"].values()]


@pytest.fixture
def site(tmp_path, monkeypatch):
    for kind in (errors.NetworkUnavailable, errors.SwitchUnavailable):
        monkeypatch.setitem(patience.PATIENCE, kind, 0.5)
    site = Site(tmp_path)
    yield site
    site.cloud.close()


@pytest.fixture
def first(site):
    """The port that the server has from its boot."""
    (vif,) = site.cached()
    assert site.all_know(vif["id"])
    return vif["id"]


def by_network(site):
    return {"network_id": NETWORK}


def by_port(site):
    return {"port_id": site.port()}


def by_address(site):
    return {"network_id": NETWORK, "requested_ip": "10.0.0.77"}


KINDS = pytest.mark.parametrize("kind", [by_network, by_port, by_address])


# --- attach -------------------------------------------------------------------------------------
@KINDS
@pytest.mark.parametrize("state", ["running", "stopped", "paused"])
def test_an_interface_is_attached(site, first, kind, state):
    """All know of it, and the caller gets what the network cache has of it."""
    if state != "running":
        site.stop() if state == "stopped" else site.pause()
    request = kind(site)

    vif = site.attach(**request)

    assert site.all_know(first, vif["id"])
    assert site.told() == sorted([first, vif["id"]])
    assert vif == site.cached()[1]
    assert vif["preserve_on_delete"] is (kind is by_port)
    (port,) = [row for row in site.neutron.rows["ports"] if row["id"] == vif["id"]]
    assert (port.get("name") or "", port["device_owner"]) == ("", "compute:nova")
    if "requested_ip" in request:
        assert port["fixed_ips"][0]["ip_address"] == "10.0.0.77"
    assert site.events()[-2:] == [("compute_attach_interface", p) for p in ("start", "finish")]


def test_the_answer_has_the_form_of_the_recorded_one(site):
    """Key by key, down to the subnet's addresses."""
    path = "tests/wire/data/methods/attach_interface.json"
    with open(path) as file:
        wanted = json.load(file)[1]["replies"][0]["result"]

    assert shape(site.attach(network_id=NETWORK)) == shape(wanted)


def shape(value):
    if isinstance(value, dict):
        open_ended = ("details", "profile")
        return {key: key if key in open_ended else shape(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__ if not isinstance(value, bool) else "bool"


def test_a_tag_is_in_the_records_and_leaves_them(site, first):
    """The VirtualInterface record and device_metadata, which the guest is told of."""
    vif = site.attach(network_id=NETWORK, tag="back")

    tables = site.host.conductor.read()
    assert tables["VirtualInterface"][vif["id"]]["tag"] == "back"
    assert tags(site) == [["back"]]
    site.detach(vif["id"])
    assert tags(site) == []
    assert site.all_know(first)


def tags(site):
    metadata = site.host.conductor.instance(site.server)["device_metadata"]["nova_object.data"]
    return [device["nova_object.data"]["tags"] for device in metadata["devices"]]


def test_two_at_a_time_do_not_forget_each_other(site, first):
    """The second message shows the server as it was before the first one was carried out."""
    before = site.host.get(site.server)
    sent = [
        site.host.send("attach_interface", site.server, instance=before, context=TOKEN,
                       **NOTHING | {"network_id": NETWORK})
        for _ in range(2)
    ]  # fmt: skip
    site.host.settle()

    made = [entry.answer.result(0)["id"] for entry in sent]
    assert site.all_know(first, *made)


def test_asked_twice_it_is_attached_once(site, first):
    """The same request gets the same answer, also after a restart."""
    context = {**TOKEN, "request_id": "req-twice"}
    wanted = site.ask("attach_interface", context, **NOTHING | {"network_id": NETWORK})
    site.host.restart()

    assert site.ask("attach_interface", context, **NOTHING | {"network_id": NETWORK}) is None
    assert site.all_know(first, wanted.answer.result(0)["id"])


# --- what cannot be attached --------------------------------------------------------------------
def its_own(site):
    return {"port_id": site.cached()[0]["id"]}


def of_another_server(site):
    return {"port_id": site.port(device_id=OTHER)}


def unknown(site):
    return {"port_id": "77777777-b410-41e7-af51-fddb339207ce"}


def of_another_project(site):
    return {"port_id": site.port(tenant_id="somebody else")}


def hardware(site):
    return {"port_id": site.port(**{"binding:vnic_type": "direct"})}


def unknown_network(site):
    return {"network_id": "88888888-b410-41e7-af51-fddb339207ce"}


def without_subnet(site):
    return {"network_id": site.neutron.network(PROJECT, name="bare")["id"]}


def anything_of_two(site):
    site.neutron.subnet(site.neutron.network(PROJECT, name="second"))
    return {}


def refused(status, kind):
    def on_network(site):
        site.neutron.before.append(
            lambda call: error(status, kind) if call.method == "POST" else None
        )
        return {"network_id": NETWORK, "requested_ip": "10.0.0.10"}

    return on_network


def unbindable(site):
    site.neutron.bindable_hosts.clear()
    return {"network_id": NETWORK}


def unbindable_port(site):
    site.neutron.bindable_hosts.clear()
    return {"port_id": site.port()}


@pytest.mark.parametrize(
    ("ask", "name", "code"),
    [
        (its_own, "PortInUse", 409),
        (of_another_server, "PortInUse", 409),
        (unknown, "PortNotFound", 404),
        (of_another_project, "PortNotUsable", 400),
        (hardware, "AttachInterfaceNotSupported", 400),
        (unknown_network, "NetworkNotFound", 404),
        (without_subnet, "SecurityGroupCannotBeApplied", 400),
        (anything_of_two, "NetworkAmbiguous", 409),
        (refused(409, "IpAddressGenerationFailure"), "NoMoreFixedIps", 400),
        (refused(409, "IpAddressAlreadyAllocated"), "FixedIpAlreadyInUse", 409),
        (refused(400, "InvalidIpForNetwork"), "PortNotUsable", 400),
        (refused(409, "OverQuota"), "PortLimitExceeded", 403),
        (unbindable, "PortBindingFailed", 500),
        (unbindable_port, "PortBindingFailed", 500),
    ],
)
def test_what_cannot_be_attached_leaves_nothing(site, first, ask, name, code):
    """The caller gets the error that nova-api knows; the server stays as it is."""
    request = ask(site)
    rows = [dict(row) for row in site.neutron.rows["ports"]]

    with pytest.raises(OperationFailed) as refusal:
        site.attach(**request)

    assert (refusal.value.nova_name, refusal.value.code) == (name, code)
    assert site.all_know(first)
    assert without_details(site.neutron.rows["ports"]) == without_details(rows)
    assert site.faults() == [refusal.value.message]
    assert site.host.row(site.server) == ("host1", "active", None, 1)


def without_details(rows):
    """What users see of ports."""
    return [
        {k: v for k, v in row.items() if k not in DETAILS}
        for row in rows
    ]


def no_slot(site):
    site.host.hypervisor.slots = 1


def broken_guest(site):
    error = errors.HypervisorError("internal error: unable to execute QEMU command 'device_add'")
    site.host.hypervisor.fail("attach_nic", error)


def broken_host_side(site):
    plug = site.host.vifs.plug

    def fail(vif, **owner):
        plug(vif, **owner)
        raise errors.VifPlugError("cannot plug: broken on purpose")

    site.host.vifs.plug = fail


@KINDS
@pytest.mark.parametrize("fault", [no_slot, broken_guest, broken_host_side])
def test_what_this_host_refuses_is_taken_back(site, first, kind, fault):
    """InterfaceAttachFailed, as in stock, with the reason."""
    request = kind(site)
    fault(site)

    with pytest.raises(OperationFailed) as refusal:
        site.attach(**request)

    assert (refusal.value.nova_name, refusal.value.code) == ("InterfaceAttachFailed", 500)
    assert site.all_know(first)
    if kind is by_port:
        (port,) = [row for row in site.neutron.rows["ports"] if row["id"] == request["port_id"]]
        assert (port["device_id"], port["device_owner"]) == ("", "")


def test_without_the_users_token_no_port_is_made(site, first):
    """The agent may make any port, so it does not make one in the user's place."""
    entry = site.ask("attach_interface", {"user_id": "u"}, **NOTHING | {"network_id": NETWORK})

    assert isinstance(entry.answer.exception(0), OperationFailed)
    assert site.all_know(first)


def test_a_guest_that_keeps_the_card_keeps_the_port(site, first, caplog):
    """What fails after the guest has it cannot be taken back from a guest that does not let go."""
    site.host.hypervisor.stubborn.add(site.server)
    site.host.tools.hypervisor.fail("devices", errors.HypervisorError("broken on purpose"))

    with pytest.raises(OperationFailed):
        site.attach(network_id=NETWORK, tag="back")

    (made,) = {vif["id"] for vif in site.cached()} - {first}
    assert site.all_know(first, made)
    assert any(made in text and "until it is detached" in text for text in caplog.messages)


# --- Neutron's answers are lost -----------------------------------------------------------------
def lose(site, method):
    """The first answer to a method never comes; the work is done."""

    def answer(call):
        if call.method != method:
            return None
        site.neutron.before.remove(answer)
        reply = site.neutron._serve(call)
        reply.drop = True
        return reply

    site.neutron.before.append(answer)


@KINDS
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_lost_answer_makes_no_second_port(site, first, kind, method):
    """What was made is found by its name."""
    request = kind(site)
    lose(site, method)

    vif = site.attach(**request)

    assert site.all_know(first, vif["id"])
    assert not [row for row in site.neutron.rows["ports"] if row.get("name")]


def test_a_post_that_was_carried_out_late_leaves_no_port(site, first):
    """Neutron makes the port of the lost request after the second one."""
    late = []

    def hold(call):
        if call.method != "POST":
            return None
        if not late:
            late.append(call)
            return Reply(503)
        site.neutron.before.remove(hold)
        site.neutron._serve(late[0])
        return None

    site.neutron.before.append(hold)

    vif = site.attach(network_id=NETWORK)

    assert site.all_know(first, vif["id"])


def test_a_port_of_the_server_that_is_not_known_is_not_taken(site, first):
    """Somebody has made one for it, on the same network, while an answer was lost."""
    stranger = site.port(device_id=site.server, name="mine")
    lose(site, "POST")

    vif = site.attach(network_id=NETWORK)

    assert vif["id"] != stranger
    assert sorted([first, vif["id"]]) == site.look()["cache"]
    (row,) = [row for row in site.neutron.rows["ports"] if row["id"] == stranger]
    assert (row["name"], row["binding:host_id"]) == ("mine", "")


def test_a_port_that_neutron_does_not_take_back_can_be_detached(site, first):
    """The guest has refused the card, and Neutron does not delete the port."""
    broken_guest(site)
    refuse = lambda call: error(409, "PortInUse") if call.method == "DELETE" else None  # noqa: E731
    site.neutron.before.append(refuse)

    with pytest.raises(OperationFailed) as refusal:
        site.attach(network_id=NETWORK)

    assert refusal.value.nova_name == "InterfaceAttachFailed"
    seen = site.look()
    assert seen["cache"] == seen["neutron"] and len(seen["cache"]) == 2
    assert (seen["guest"], seen["switch"]) == ([first], [first])
    site.neutron.before.clear()
    (left,) = set(seen["cache"]) - {first}
    site.detach(left)
    assert site.all_know(first)


def test_neutron_that_stays_away_ends_it(site, first):
    """What may have been made meanwhile is found and deleted."""
    lose(site, "POST")
    posted = []

    def away(call):
        if call.method == "POST":
            posted.append(call)
        if posted and call.method == "GET" and "name" in call.query and len(posted) < 2:
            posted.append(call)
            return None
        return Reply(503) if posted and call.method == "PUT" else None

    site.neutron.before.append(away)
    with pytest.raises(OperationFailed) as refusal:
        site.attach(network_id=NETWORK)

    assert refusal.value.code == 503
    site.neutron.before.clear()
    assert site.all_know(first)


# --- killed -------------------------------------------------------------------------------------
@pytest.mark.parametrize("boundary", boundaries("attach_interface", ATTACH))
@pytest.mark.parametrize("kind", [by_network, by_port])
def test_killed_anywhere_an_attach_goes_on(site, first, kind, boundary):
    """There is one more port, and all know of it."""
    request = kind(site)

    site.killed(boundary, "attach_interface", **NOTHING | request)

    (made,) = {vif["id"] for vif in site.cached()} - {first}
    assert site.all_know(first, made)
    assert site.told() == sorted([first, made])
    assert ("compute_attach_interface", "finish") in site.events()


@pytest.mark.parametrize("method", ["create_port", "update_port", "delete_port"])
def test_killed_before_an_answer_came(site, first, method, monkeypatch):
    """Between what Neutron did and what the journal has of it."""
    verb, arguments = "attach_interface", NOTHING | {"network_id": NETWORK}
    if method == "delete_port":
        verb, arguments = "detach_interface", {"port_id": site.attach(network_id=NETWORK)["id"]}
    real = getattr(Api, method)

    def last(*told, **values):
        real(*told, **values)
        raise Killed

    with monkeypatch.context() as dying, until_killed():
        dying.setattr(Api, method, last)
        site.host.send(verb, site.server, context=TOKEN, **arguments)
    site.resume()

    ports = {vif["id"] for vif in site.cached()} - {first}
    assert len(ports) == (0 if method == "delete_port" else 1)
    assert site.all_know(first, *ports)


# --- detach -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [by_network, by_port])
@pytest.mark.parametrize("stopped", [True, False])
def test_an_interface_is_detached(site, first, kind, stopped):
    """A port that was made for it is deleted, the user's own is free again."""
    port = site.attach(**kind(site))["id"]
    if stopped:
        site.stop()

    site.detach(port)

    assert site.all_know(first)
    assert site.told() == [first]
    left = [row for row in site.neutron.rows["ports"] if row["id"] == port]
    assert [row["device_id"] for row in left] == ([""] if kind is by_port else [])
    assert site.events()[-1] == ("compute_detach_interface", "finish")
    assert "InstanceFault" not in site.host.conductor.read()


def test_the_port_of_the_boot_can_go_too(site, first):
    """There is no port that a server must keep."""
    site.detach(first)

    assert site.all_know()


@pytest.mark.parametrize("how", ["paused", "stubborn", "broken"])
def test_a_guest_that_keeps_the_card_goes_on_with_it(site, first, how):
    """Nothing is taken from it; the event and a fault say why, and it can be asked again."""
    port = site.attach(network_id=NETWORK)["id"]
    if how == "paused":
        site.pause()
    elif how == "stubborn":
        site.host.hypervisor.stubborn.add(site.server)
    else:
        site.host.hypervisor.fail("detach_nic", errors.HypervisorError("no answer of QEMU"))

    site.detach(port)

    assert site.all_know(first, port)
    (message,) = site.faults()
    assert message.startswith(f"Failed to detach network adapter device from {site.server}")
    site.host.hypervisor.stubborn.clear()
    if how == "paused":
        site.do("unpause_instance", "unpausing")
    site.detach(port)
    assert site.all_know(first)


def test_a_port_that_is_not_attached(site, first):
    """As in stock: a fault, and a failed event."""
    site.detach(OTHER)

    assert site.faults() == [f"Port {OTHER} is not attached"]
    assert site.host.events()[-1][2] == f"Port {OTHER} is not attached"
    assert site.all_know(first)


def test_detached_twice_at_the_same_time(site, first):
    """The second request finds nothing; neither touches another port."""
    port = site.attach(network_id=NETWORK)["id"]
    before = site.host.get(site.server)
    for _ in range(2):
        site.host.send("detach_interface", site.server, instance=before, context=TOKEN,
                       port_id=port)  # fmt: skip
    site.host.settle()

    assert site.all_know(first)
    assert site.faults() == [f"Port {port} is not attached"]


def test_neutron_that_does_not_delete_the_port(site, first):
    """It stays the server's, and can be detached again."""
    port = site.attach(network_id=NETWORK)["id"]
    refuse = lambda call: error(409, "PortInUse") if call.method == "DELETE" else None  # noqa: E731
    site.neutron.before.append(refuse)

    site.detach(port)

    assert port in site.look()["cache"] and port in site.look()["neutron"]
    assert len(site.faults()) == 1
    site.neutron.before.clear()
    site.detach(port)
    assert site.all_know(first)


def test_a_switch_that_is_dead(site, first):
    """The port is known until its interface is unplugged."""
    port = site.attach(network_id=NETWORK)["id"]
    site.host.vifs.dead = True
    site.detach(port)
    assert port in site.look()["cache"] and port in site.look()["neutron"]

    site.host.vifs.dead = False
    site.detach(port)

    assert site.all_know(first)


@pytest.mark.parametrize("boundary", boundaries("detach_interface", DETACH))
@pytest.mark.parametrize("kind", [by_network, by_port])
def test_killed_anywhere_a_detach_goes_on(site, first, kind, boundary):
    """Port and interface are gone."""
    port = site.attach(**kind(site))["id"]

    site.killed(boundary, "detach_interface", port_id=port)

    assert site.all_know(first)
    assert site.told() == [first]
    assert site.events()[-1] == ("compute_detach_interface", "finish")
    assert "InstanceFault" not in site.host.conductor.read()


# --- together with others -----------------------------------------------------------------------
def test_a_delete_ends_an_attach(site, first):
    """The user's port is free afterwards, not deleted with the server."""
    port, entered, go_on = site.port(), threading.Event(), threading.Event()
    plug = site.host.vifs.plug

    def slow(vif, **owner):
        entered.set()
        assert go_on.wait(30)
        plug(vif, **owner)

    site.host.vifs.plug = slow
    entry = site.host.send("attach_interface", site.server, context=TOKEN,
                           **NOTHING | {"port_id": port})  # fmt: skip
    assert entered.wait(30)
    site.host.conductor.set(site.server, task_state="deleting")
    site.host.send("terminate_instance", site.server, context=TOKEN, bdms=None)
    go_on.set()
    site.host.settle()

    assert entry.answer.exception(0).nova_name == "UnexpectedDeletingTaskStateError"
    (row,) = [row for row in site.neutron.rows["ports"] if row["id"] == port]
    assert (row["device_id"], row["binding:host_id"]) == ("", "")
    assert (site.host.vifs.ports, site.host.guests()) == ({}, {})
    assert site.neutron.ports_of(site.server) == []


@pytest.mark.parametrize("kind", [by_network, by_port])
def test_a_server_that_is_another_hosts_by_now(site, first, kind):
    """Nothing is asked of Neutron, and the caller hears whose it is."""
    request = kind(site)
    before = len(site.cloud.calls)
    stale = site.host.get(site.server)
    site.host.conductor.set(site.server, host="host2", node="host2")
    old = {**TOKEN, "timestamp": "2020-01-01T00:00:00.000000"}

    entry = site.host.send("attach_interface", site.server, instance=stale, context=old,
                           **NOTHING | request)  # fmt: skip
    site.host.settle()

    assert "host2" in str(entry.answer.exception(0))
    assert len(site.cloud.calls) == before


def test_a_reboot_keeps_the_interface(site, first):
    """Whoever defines the guest anew finds the port in the cache, and what becomes of it later."""
    port = site.attach(**by_port(site))["id"]

    site.do("reboot_instance", "rebooting_hard", reboot_type="HARD", block_device_info=None)

    assert site.all_know(first, port)
    assert site.cached()[1]["preserve_on_delete"] is True
