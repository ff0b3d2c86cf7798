"""Looks at Neutron that servers share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite.errors import NetworkUnavailable
from nova_lite.services.wiring import MOST, WAITS_S, Looks
from tests.fakes.clock import ManualClock


class Ports:
    """Neutron: server -> ids of ports that are wired up; ``looks`` are the servers asked about."""

    def __init__(self):
        self.clock = ManualClock()
        self.looks_ = Looks(self.clock)
        self.wired, self.looks = {}, []

    def look(self, servers):
        self.looks.append(set(servers))
        return {server: {port} for server, port in self.wired.items() if server in servers}

    def at(self, server, within=0.0):
        return self.looks_.at(server, within, self.look)


@pytest.fixture
def ports():
    return Ports()


def test_a_look_finds_what_is_wired_up(ports):
    assert ports.at("a") == set()
    ports.wired["a"] = "port"
    assert ports.at("a") == {"port"}
    assert ports.looks == [{"a"}, {"a"}]


def test_servers_that_wait_are_looked_for_together(ports):
    """What is new enough for one of them is not asked again."""
    ports.at("a"), ports.at("b")
    ports.wired.update(a="port-a", b="port-b")
    ports.clock.sleep(1.0)
    assert ports.at("a", 0.5) == {"port-a"}
    ports.clock.sleep(0.4)
    assert ports.at("b", 0.5) == {"port-b"}
    assert ports.looks == [{"a"}, {"a", "b"}, {"a", "b"}]
    ports.clock.sleep(0.2)
    ports.at("b", 0.5)
    assert len(ports.looks) == 4


def test_a_server_that_asks_no_more_is_not_looked_for(ports):
    ports.at("a")
    ports.clock.sleep(WAITS_S + 1)
    ports.at("b")
    assert ports.looks[-1] == {"b"}


def test_not_more_servers_than_a_url_holds(ports):
    """The one that asks is always among them."""
    for number in range(MOST + 10):
        ports.at(str(number))
    ports.at("0")
    assert len(ports.looks[-1]) == MOST and "0" in ports.looks[-1]


def test_a_look_under_way_is_waited_for(ports):
    """It began lately enough, whenever it ends."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(servers):
        begun.set()
        assert go_on.wait(10)
        return ports.look(servers)

    ports.at("a"), ports.at("b")
    ports.clock.sleep(1.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ports.looks_.at, "a", 0.5, slow)
        assert begun.wait(10)
        second = pool.submit(ports.at, "b", 0.5)
        ports.wired["b"] = "port"
        go_on.set()
        assert (first.result(10), second.result(10)) == (set(), {"port"})
    assert len(ports.looks) == 3


def test_a_look_that_failed_is_nobody_s_answer(ports):
    def fail(servers):
        raise NetworkUnavailable("away")

    ports.at("b")
    ports.clock.sleep(1.0)
    with pytest.raises(NetworkUnavailable):
        ports.looks_.at("a", 0.5, fail)
    ports.wired["b"] = "port"
    assert ports.at("b", 0.5) == {"port"}
