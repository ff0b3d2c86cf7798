"""Serial ports: none twice, none lost, no record but the guests' definitions."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite.errors import InvalidConfiguration, SerialPortsExhausted
from nova_lite.services.serial_ports import SerialPorts, listenable, port_range
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor

HOST = "127.0.0.1"


class World:
    """A hypervisor and whoever else listens on this host."""

    def __init__(self, directory):
        self.directory, self.hypervisor, self.busy = directory, FakeHypervisor(), set()

    def ports(self, first=100, end=110):
        """An agent's allocator, as after its start."""
        return SerialPorts(
            self.hypervisor, HOST, range(first, end), free=lambda host, port: port not in self.busy
        )

    def guest(self, *ports):
        spec = tiny_guest(self.directory, serial_tcp=(HOST, ports))
        self.hypervisor.define(spec)
        return spec.uuid


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_lowest_free_ports_are_taken(world):
    """Not those of other guests, running or not, nor those of other programs."""
    world.guest(100)
    world.busy = {101, 103}

    assert world.ports().of("new", 3) == (102, 104, 105)
    assert world.ports().of("new", 0) == ()


def test_a_choice_holds_until_it_is_defined_or_forgotten(world):
    """Boots that run side by side choose before either is defined."""
    ports = world.ports()
    assert ports.of("a", 1) == (100,)
    assert ports.of("b", 1) == (101,)

    ports.forget("a")

    assert ports.of("c", 1) == (100,)


def test_a_removed_guest_gives_its_ports_back(world):
    """A choice that was defined is not remembered beside the definition."""
    ports, first = world.ports(100, 101), world.guest()
    world.hypervisor.undefine(first)
    for _ in range(3):
        spec = tiny_guest(world.directory)
        chosen = ports.of(spec.uuid, 1)
        world.hypervisor.define(tiny_guest(world.directory, uuid=spec.uuid, name=spec.name,
                                           serial_tcp=(HOST, chosen)))  # fmt: skip
        with pytest.raises(SerialPortsExhausted, match="port_range, which is 100:101"):
            ports.of("other", 1)
        world.hypervisor.undefine(spec.uuid)


def test_a_server_keeps_its_ports_over_restarts_of_agent_and_guest(world):
    """A new agent reads them from the definition; a running guest is who listens there."""
    uuid = world.guest(105, 106)
    assert world.ports().of(uuid, 2) == (105, 106)

    world.hypervisor.start(uuid)
    world.busy = {105, 106}
    assert world.ports().of(uuid, 2) == (105, 106)

    world.hypervisor.destroy(uuid)
    assert world.ports().of(uuid, 2) == (100, 101), "somebody else listens there meanwhile"


def test_ports_that_do_not_fit_any_more_are_changed(world):
    """Another number of ports, another range, or a copy of another guest's definition."""
    uuid = world.guest(105)
    assert world.ports().of(uuid, 2) == (100, 101)
    assert world.ports(200, 210).of(uuid, 1) == (200,)
    world.guest(105)
    assert world.ports().of(uuid, 1) == (100,)


def test_many_at_once_get_different_ports(world):
    """As many threads as there are ports."""
    ports = world.ports(100, 140)
    with ThreadPoolExecutor(20) as workers:
        chosen = list(workers.map(lambda number: ports.of(str(number), 2), range(20)))

    assert sorted(port for pair in chosen for port in pair) == list(range(100, 140))


@pytest.mark.parametrize("text", ["100:100", "200:100", "0:10", "100:70000"])
def test_a_bad_range_is_a_configuration_error(text):
    """The option is named."""
    with pytest.raises(InvalidConfiguration, match=r"\[serial_console\] port_range"):
        port_range(text)


def test_a_port_is_free_when_nobody_listens_on_it():
    """Tried with a real socket."""
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert not listenable(HOST, port)
    assert listenable(HOST, port)
