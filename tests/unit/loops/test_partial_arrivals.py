"""Files of moves that failed: only of their servers, and nobody is asked where there are none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.loops.partial_arrivals import PartialArrivals

FAILED, HALF, BUSY, GUEST, OTHER, OPEN, AWAY = (
    f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1234567"
)


class World:
    """Engine, hypervisor and migrations in one; this is host2."""

    def __init__(self):
        self.begun, self.asked = [], []
        self.tools = SimpleNamespace(hypervisor=self, migrations=self, host="host2", node="node2")

    def busy(self, uuid):
        return uuid == BUSY

    def begin(self, method, context, uuid, arguments):
        self.begun.append((method, uuid, arguments["instance"]["uuid"]))

    def domains(self):
        return [SimpleNamespace(uuid=GUEST)]

    def open_of_host(self, context, host, node):
        self.asked.append((host, node, context.fields["read_deleted"]))
        rows = [(uuid, "error", "host2") for uuid in (FAILED, HALF, BUSY, GUEST)]
        rows += [(OPEN, "migrating", "host2"), (AWAY, "error", "host1")]
        return [
            {"instance_uuid": uuid, "status": status, "dest_compute": dest}
            for uuid, status, dest in rows
        ]


@pytest.fixture
def world():
    return World()


def test_what_a_failed_move_has_sent_is_looked_at(world, tmp_path):
    """Also what is left of it; not while something is done with its server, and nothing of those
    that other hosts have on the same storage, that are coming, or that have left."""
    names = (FAILED, f"{HALF}_del", BUSY, GUEST, OTHER, OPEN, AWAY, f"{OTHER}_resize", "_base")
    for name in names:
        (tmp_path / name).mkdir()

    PartialArrivals(tmp_path, world.tools, world).tick()

    assert world.begun == [("remove_partial", uuid, uuid) for uuid in (FAILED, HALF)]
    assert world.asked == [("host2", "node2", "yes")]


def test_an_orderly_host_asks_nobody(world, tmp_path):
    """Each server's directory has its guest, or there are no servers."""
    PartialArrivals(tmp_path / "missing", world.tools, world).tick()
    PartialArrivals(tmp_path, world.tools, world).tick()
    (tmp_path / GUEST).mkdir()
    (tmp_path / f"{FAILED}_resize").mkdir()
    PartialArrivals(tmp_path, world.tools, world).tick()

    assert (world.begun, world.asked) == ([], [])
