"""How often each verb asks other services: what costs a call more, or less, shows here.

``CALLS`` is the table of the documentation, too (doc/source/calls.rst).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nova_lite.wire import network_info
from nova_lite.wire.objects import WireObject
from tests.fakes.killed import Killed, until_killed
from tests.fakes.rest_host import RestHost
from tests.unit.operations.callers import callers
from tests.unit.operations.two_hosts import TwoHosts

PAGE = Path(__file__).parents[3] / "doc/source/calls.rst"
HARD = {"reboot_type": "HARD", "block_device_info": None}
SERVICES = ("Neutron", "Keystone", "Glance", "Placement", "nova-conductor")
# Calls of SERVICES in this order.
CALLS = {
    "first boot of the agent": (5, 0, 2, 0, 8),
    "boot, port made": (4, 0, 0, 0, 8),
    "boot, only network of the project": (6, 0, 0, 0, 8),
    "boot, two networks": (5, 0, 0, 0, 9),
    "boot, port given": (6, 0, 0, 0, 8),
    "... with a config drive": (6, 0, 0, 0, 8),
    "... Neutron reports nothing": (5, 0, 0, 0, 8),
    "ten servers of one request": (13, 0, 0, 0, 80),
    "network-changed of a new port": (2, 0, 0, 0, 2),
    "network-changed, nothing is new": (2, 0, 0, 0, 1),
    "... of what was done just now": (2, 0, 0, 0, 0),
    "stop": (0, 0, 0, 0, 3),
    "start": (5, 0, 0, 0, 6),
    "hard reboot": (5, 0, 0, 0, 7),
    "attach interface, port made": (5, 0, 0, 0, 5),
    "attach interface, port given": (6, 0, 0, 0, 5),
    "detach interface, port made": (2, 0, 0, 0, 6),
    "detach interface, port given": (3, 0, 0, 0, 6),
    "delete, port made": (2, 0, 0, 1, 5),
    "delete, two networks": (3, 0, 0, 1, 5),
    "delete, port given": (3, 0, 0, 1, 5),
}
# Calls of nova-conductor that both hosts of a move make together.
MOVES = {
    "resize or migrate": 18,
    "... on one host": 18,
    "... with a volume": 20,
    "confirm": 6,
    "revert": 11,
    "... of a server on NUMA nodes": 12,
}


@pytest.fixture
def host(tmp_path):
    host = RestHost(tmp_path)
    host.network()
    host.composed.warm_up()  # as the agent does when it starts
    host.composed.ports.warm_up()
    yield host
    host.cloud.close()


def on(host: RestHost, *networks: int) -> str:
    """Boot a server with a port made on each of these networks."""
    rows = host.neutron.rows["networks"]
    return host.boot_with(*({"network_id": rows[number]["id"]} for number in networks))


def delete(host: RestHost, server: str) -> None:
    host.do("terminate_instance", server, "deleting", bdms=None)


def first_boot(host):
    return lambda: on(host, 0)


def boot(host):
    delete(host, on(host, 0))
    return lambda: on(host, 0)


def boot_on_the_only_network(host):
    delete(host, on(host, 0))
    return lambda: host.boot_with()


def boot_on_two(host):
    host.network()
    delete(host, on(host, 0, 1))
    return lambda: on(host, 0, 1)


def boot_with_port(host):
    delete(host, on(host, 0))
    port = host.neutron.port(host.neutron.rows["networks"][0])
    return lambda: host.boot_with({"port_id": port["id"]})


def boot_with_config_drive(host):
    delete(host, on(host, 0))
    host.config_drive = True
    return lambda: on(host, 0)


def ten_at_once(host):
    delete(host, on(host, 0))
    network = host.neutron.rows["networks"][0]["id"]

    def run():
        servers = [host.begin_boot({"network_id": network}, request="req-1") for _ in range(10)]
        host.settle()
        assert {host.row(server)[1] for server in servers} == {"active"}

    return run


def silent_boot(host):
    delete(host, on(host, 0))
    host.events = False
    return lambda: on(host, 0)


def news(host):
    server = on(host, 0)
    (port,) = host.ports_of(server)
    return lambda: host.tell("network-changed", server, port)


def old_news(host):
    tell = news(host)
    tell()
    return tell


def no_news(host):
    tell = old_news(host)
    host.tools.info_caches.remembered = 0.0
    return tell


def stop(host):
    server = on(host, 0)
    return lambda: host.do("stop_instance", server, "powering-off", clean_shutdown=False)


def start(host):
    server = on(host, 0)
    host.do("stop_instance", server, "powering-off", clean_shutdown=False)
    return lambda: host.do("start_instance", server, "powering-on")


def hard_reboot(host):
    server = on(host, 0)
    return lambda: host.do("reboot_instance", server, "rebooting_hard", **HARD)


INTERFACE = {"network_id": None, "port_id": None, "requested_ip": None, "tag": None}


def attach(host, given):
    server, row = on(host, 0), host.neutron.rows["networks"][0]
    asked = {"port_id": host.neutron.port(row)["id"]} if given else {"network_id": row["id"]}
    return server, lambda: host.do("attach_interface", server, None, **{**INTERFACE, **asked})


def attach_made(host):
    return attach(host, given=False)[1]


def attach_given(host):
    return attach(host, given=True)[1]


def detach(host, given):
    server, run = attach(host, given)
    before = host.ports_of(server)
    run()
    (port,) = set(host.ports_of(server)) - set(before)
    return lambda: host.do("detach_interface", server, None, port_id=port)


def detach_made(host):
    return detach(host, given=False)


def detach_given(host):
    return detach(host, given=True)


def deletion(host):
    server = on(host, 0)
    return lambda: delete(host, server)


def deletion_on_two(host):
    host.network()
    server = on(host, 0, 1)
    return lambda: delete(host, server)


def deletion_with_port(host):
    server = boot_with_port(host)()
    return lambda: delete(host, server)


VERBS: dict[str, Callable[[RestHost], Callable[[], object]]] = {
    "first boot of the agent": first_boot,
    "boot, port made": boot,
    "boot, only network of the project": boot_on_the_only_network,
    "boot, two networks": boot_on_two,
    "boot, port given": boot_with_port,
    "ten servers of one request": ten_at_once,
    "... with a config drive": boot_with_config_drive,
    "... Neutron reports nothing": silent_boot,
    "network-changed of a new port": news,
    "network-changed, nothing is new": no_news,
    "... of what was done just now": old_news,
    "stop": stop,
    "start": start,
    "hard reboot": hard_reboot,
    "attach interface, port made": attach_made,
    "attach interface, port given": attach_given,
    "detach interface, port made": detach_made,
    "detach interface, port given": detach_given,
    "delete, port made": deletion,
    "delete, two networks": deletion_on_two,
    "delete, port given": deletion_with_port,
}


def moving(directory, **more):
    """Two hosts whose agents have run for so long that nobody has console tokens of before."""
    hosts = TwoHosts(directory, **more)
    for host in {hosts.source, hosts.dest}:
        host.conf.set_override("token_ttl", 0, group="consoleauth")
    return hosts, hosts.move


def moved(directory, **more):
    hosts, move = moving(directory)
    move()
    hosts.set(**more)
    hosts.peers.answers["host1"]["check_instance_shared_storage"] = False
    return hosts


def confirmation(directory):
    hosts = moved(directory)
    arguments = {"migration": hosts._migration()}
    return hosts, lambda: hosts.run(hosts.source, "confirm_resize", request="req-2", **arguments)


def revert(directory, **more):
    hosts = moved(directory, task_state="resize_reverting", **more)
    hosts.set_migration(status="reverting")
    arguments = {"migration": hosts._migration(), "request_spec": None}

    def run():
        hosts.run(hosts.dest, "revert_resize", request="req-2", **arguments)
        hosts.deliver(hosts.asked("finish_revert_resize"))

    return hosts, run


def revert_on_numa_nodes(directory):
    place = WireObject.new("InstanceNUMATopology", "1.3", cells=[]).primitive
    return revert(directory, numa_topology=place)


MOVING = {
    "resize or migrate": moving,
    "... on one host": lambda directory: moving(directory, same=True),
    "... with a volume": lambda directory: moving(directory, volume=True),
    "confirm": confirmation,
    "revert": revert,
    "... of a server on NUMA nodes": revert_on_numa_nodes,
}


@pytest.mark.parametrize("verb", MOVES)
def test_each_move_asks_no_more_than_this(tmp_path, verb):
    """Where it says who has asked for what, each call is named with its step."""
    hosts, run = MOVING[verb](tmp_path)

    with callers(hosts.conductor) as asked:
        run()

    assert hosts.faults() == []
    assert len(asked) == MOVES[verb], "\n".join(asked)


@pytest.mark.parametrize("verb", CALLS)
def test_each_verb_asks_no_more_than_this(host, verb):
    """Nor less: who saves a call says so here."""
    run = VERBS[verb](host)
    asked = host.asked()

    run()

    assert tuple(len(asked[service]) for service in SERVICES) == CALLS[verb], {
        service: asked[service] for service in SERVICES
    }


def test_the_documentation_says_the_same():
    """Its table begins each line with the verb, and nova-lite's calls come first."""
    page = PAGE.read_text()
    for verb, calls in {**CALLS, **{verb: (calls,) for verb, calls in MOVES.items()}}.items():
        said = re.search(rf"^{re.escape(verb)}\s+((?:\d+\s+){{{len(calls)}}})", page, re.M)
        assert said, f"{PAGE} has no line for {verb}"
        assert tuple(map(int, said[1].split())) == calls, verb


# --- what is spared is not needed --------------------------------------------------------------
def test_a_boot_that_was_killed_finds_the_port_that_it_made(host, monkeypatch):
    """Only the first attempt of the first host does not look."""

    def die(*arguments):
        raise Killed

    with monkeypatch.context() as dying, until_killed():
        dying.setattr(network_info, "dump", die)
        server = host.begin_boot({"network_id": host.neutron.rows["networks"][0]["id"]})
    (port,) = host.ports_of(server)

    host.restart()
    host.engine.resume()
    host.settle()

    assert (host.row(server)[1], host.ports_of(server)) == ("active", [port])


@pytest.mark.parametrize(("attempts", "looks"), [(1, 0), (2, 1), (None, 0)])
def test_what_another_host_may_have_left_is_looked_for(host, attempts, looks):
    """A build comes to the next host after the first one has failed, and perhaps left ports."""
    asked = host.asked()
    retry = {"retry": {"num_attempts": attempts}} if attempts else {}

    host.begin_boot(
        {"network_id": host.neutron.rows["networks"][0]["id"]}, filter_properties=retry
    )
    host.settle()

    assert asked["Neutron"].count("GET ports by device_id") == looks
