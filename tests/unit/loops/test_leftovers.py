"""Directories of servers that are gone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.loops.leftovers import Leftovers

GONE, ALIVE, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")


class World:
    """Hypervisor, engine and what removes in one; ``deleted`` are servers deleted on this host."""

    def __init__(self, directory, deleted=()):
        self.directory, self.deleted, self.asked, self.working = directory, deleted, [], set()
        self.leftovers = Leftovers(directory, 2, self, self, self.reap)

    def domains(self):
        return [SimpleNamespace(uuid=ALIVE)]

    def busy(self, uuid):
        return uuid in self.working

    def reap(self, uuid):
        self.asked.append(uuid)
        return uuid in self.deleted


@pytest.fixture
def directory(tmp_path):
    for name in ("_base", "locks", ALIVE, "compute_nodes"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_an_orderly_host_asks_nobody(directory):
    """Every server's directory has its guest: no call of the conductor."""
    world = World(directory)
    world.leftovers.tick()
    assert world.asked == []


@pytest.mark.parametrize("suffix", ["", "_del"])
def test_what_is_left_of_a_deleted_server_is_removed(directory, suffix):
    """Also a directory whose removal was cut off; it is tried as often as nova.conf says."""
    (directory / f"{GONE}{suffix}").mkdir()
    world = World(directory, deleted={GONE})
    for _ in range(4):
        world.leftovers.tick()
    assert world.asked == [GONE, GONE]


def test_what_belongs_to_others_is_asked_for_once(directory):
    """On shared storage there are the servers of every host."""
    (directory / OTHER).mkdir()
    world = World(directory)
    for _ in range(3):
        world.leftovers.tick()
    assert world.asked == [OTHER]


def test_a_server_that_something_is_done_with_is_left_alone(directory):
    """It may be being built, or deleted."""
    (directory / GONE).mkdir()
    world = World(directory, deleted={GONE})
    world.working.add(GONE)
    world.leftovers.tick()
    assert world.asked == []


def test_a_host_without_servers_has_no_directory_yet(tmp_path):
    """instances_path is made by the first boot."""
    world = World(tmp_path / "instances")
    world.leftovers.tick()
    assert world.asked == []
