"""One more address, or one less: asked twice, killed in the middle, refused."""

from __future__ import annotations

import pytest

from tests.fakes.http_cloud import Reply
from tests.fakes.killed import Killed, until_killed
from tests.fakes.neutron import error
from tests.fakes.neutron_host import NETWORK, USER, wired_up

ADD, REMOVE = "add_fixed_ip_to_instance", "remove_fixed_ip_from_instance"
STEPS = {ADD: "add_fixed_ip", REMOVE: "remove_fixed_ip"}
ELSEWHERE = "11111111-7bbc-48f6-8b11-4877d0d8f00b"


@pytest.fixture
def host(tmp_path):
    with wired_up(tmp_path) as host:
        yield host


@pytest.fixture
def server(host):
    return host.boot()


def run(host, method, server, **arguments):
    host.send(method, server, **arguments)
    host.settle()


def add(host, server, network_id=NETWORK, **how):
    run(host, ADD, server, network_id=network_id, **how)


def remove(host, server, address, **how):
    run(host, REMOVE, server, address=address, **how)


def puts(host, start=0):
    return [call for call in host.service.done(start) if call.startswith("PUT")]


def test_an_address_is_added_and_removed_again(host, server):
    """By the user, for Neutron's policies say who may; the guest is left alone."""
    (first,) = host.addresses(server)
    before = host.hypervisor.guests[server].spec
    host.conductor.set(server, updated_at="2026-01-01T00:00:00Z")
    start = len(host.cloud.calls)

    add(host, server)

    added = host.addresses(server)
    assert (added[0], len(added)) == (first, 2)
    assert host.cached_addresses(server) == added
    assert puts(host, start) == [f"PUT ports as {USER['project_id']}"]
    assert host.get(server)["updated_at"] > "2026-11"
    remove(host, server, first)
    assert host.addresses(server) == host.cached_addresses(server) == added[1:]
    assert host.hypervisor.guests[server].spec is before
    assert (host.faults(), host.journal()) == ([], [])
    assert host.row(server) == ("host1", "active", None, 1)


def test_the_port_keeps_the_addresses_that_others_give_it_meanwhile(host, server):
    """Stock writes back what it has read; the change of somebody else was lost."""
    (port,) = host.service.ports_of(server)
    given = {"ip_address": "10.0.0.77", "subnet_id": host.subnet["id"]}

    def meddle(call):
        if call.method == "PUT":
            host.service.before.remove(meddle)
            port["fixed_ips"] = [*port["fixed_ips"], given]
            port["revision_number"] += 1

    host.service.before.append(meddle)
    remove(host, server, port["fixed_ips"][0]["ip_address"])

    assert host.addresses(server) == host.cached_addresses(server) == ["10.0.0.77"]


@pytest.mark.parametrize("method", [ADD, REMOVE])
def test_a_lost_answer_changes_nothing(host, server, method):
    """The connection broke after Neutron had changed the port."""
    (first,) = host.addresses(server)
    host.service.lose_updates = 1

    run(host, method, server, **({"network_id": NETWORK} if method == ADD else {"address": first}))

    assert len(host.addresses(server)) == (2 if method == ADD else 0)
    assert host.cached_addresses(server) == host.addresses(server)
    assert (host.faults(), host.journal()) == ([], [])


@pytest.mark.parametrize("where", ["accepted", "begin", "put", "end", "refresh_ports:end"])
@pytest.mark.parametrize("method", [ADD, REMOVE])
def test_killed_anywhere_it_is_done_once(host, server, method, where, monkeypatch):
    """The journal has what was there before."""
    (first,) = host.addresses(server)
    step = STEPS[method] + ":" if where in ("begin", "end") else ""
    boundary = f"{method}:{step}{where}"

    def observe(passed):
        if passed == boundary:
            raise Killed

    change = host.tools.ports.fixed_ips._change

    def change_and_die(*arguments):
        change(*arguments)
        raise Killed

    if where == "put":
        monkeypatch.setattr(host.tools.ports.fixed_ips, "_change", change_and_die)
    host.restart(observe)
    with until_killed():
        host.send(method, server, **({"network_id": NETWORK} if method == ADD
                                     else {"address": first}))  # fmt: skip
    monkeypatch.undo()
    host.restart()
    host.engine.resume()
    host.settle()

    assert len(host.addresses(server)) == (2 if method == ADD else 0)
    assert host.cached_addresses(server) == host.addresses(server)
    assert (host.faults(), host.journal()) == ([], [])


def test_a_full_subnet_is_passed_over(host, server):
    """As in stock, which then asks for an address of the full subnet once more."""
    second = host.service.subnet(host.network, "10.0.1.0/24")

    def full(call):
        if call.method == "PUT" and call.body["port"]["fixed_ips"][-1] == {
            "subnet_id": host.subnet["id"]
        }:
            return error(409, "IpAddressGenerationFailure")
        return None

    host.service.before.append(full)
    add(host, server)

    (port,) = host.service.ports_of(server)
    assert [ip["subnet_id"] for ip in port["fixed_ips"]] == [host.subnet["id"], second["id"]]
    assert host.faults() == []


def test_a_network_that_the_server_is_not_on(host, server):
    """The fault has stock's words, and the network."""
    before = host.addresses(server)
    add(host, server, network_id=ELSEWHERE)

    ((code, message),) = host.faults()
    assert (code, f"Network could not be found for instance {server}." in message) == (404, True)
    assert ELSEWHERE in message
    assert (host.addresses(server), host.row(server)[1:3]) == (before, ("active", None))


def test_an_address_that_it_does_not_have(host, server):
    """The port stays as it is."""
    before = host.addresses(server)
    remove(host, server, "192.0.2.200")

    said = f"Instance {server} does not have fixed IP '192.0.2.200'."
    assert host.faults() == [(404, said)]
    assert host.addresses(server) == before


@pytest.mark.parametrize("method", [ADD, REMOVE])
def test_what_neutron_refuses_is_told(host, server, method):
    """Stock hides the reason, and a removal that was refused counts as done."""
    (first,) = host.addresses(server)
    host.service.before.append(
        lambda call: error(403, "PolicyNotAuthorized") if call.method == "PUT" else None
    )
    run(host, method, server, **({"network_id": NETWORK} if method == ADD else {"address": first}))

    ((_, message),) = host.faults()
    assert "PolicyNotAuthorized" in message
    assert host.addresses(server) == [first]


@pytest.mark.parametrize("method", [ADD, REMOVE])
def test_the_agent_does_it_in_nobodys_stead(host, server, method):
    """It may choose addresses that the user may not."""
    (first,) = host.addresses(server)
    start = len(host.cloud.calls)
    run(host, method, server, context={"auth_token": "expired"},
        **({"network_id": NETWORK} if method == ADD else {"address": first}))  # fmt: skip

    assert "PUT ports as neutron" not in host.service.done(start)
    assert (host.addresses(server), len(host.faults())) == ([first], 1)


def test_a_neutron_that_is_away_is_waited_for(host, server):
    """For a minute; it is away for one call here."""
    away = [Reply(503)]
    host.service.before.append(lambda call: away.pop() if call.method == "PUT" and away else None)
    add(host, server)

    assert (len(host.addresses(server)), away, host.faults()) == (2, [], [])
