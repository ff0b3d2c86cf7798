"""Files that were kept for a move: whose they are is looked up, of each once in a while."""

from __future__ import annotations

from nova_lite.loops.kept_disks import KeptDirectories

KEPT, HALF, BUSY, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1234")


class Engine:
    def __init__(self):
        self.begun = []

    def busy(self, uuid):
        return uuid == BUSY

    def begin(self, method, context, uuid, arguments):
        self.begun.append((method, uuid, arguments["instance"]["uuid"]))


def test_each_kept_directory_is_looked_at(tmp_path):
    """Also what is left of one; not while something is done with its server."""
    for name in (f"{KEPT}_resize", f"{HALF}_resize_del", f"{BUSY}_resize", OTHER, f"{OTHER}_del"):
        (tmp_path / name).mkdir()
    engine = Engine()

    KeptDirectories(tmp_path, engine).tick()

    assert engine.begun == [("remove_kept", uuid, uuid) for uuid in (KEPT, HALF)]


def test_what_was_kept_since_the_start_is_looked_at_later(tmp_path):
    """Its move has just begun; in the first minute nothing of it can be lost."""
    (tmp_path / f"{KEPT}_resize").mkdir()
    engine = Engine()
    kept = KeptDirectories(tmp_path, engine)
    (tmp_path / f"{HALF}_resize").mkdir()

    kept.tick()
    assert [uuid for _, uuid, _ in engine.begun] == [KEPT]
    kept.tick()
    assert [uuid for _, uuid, _ in engine.begun] == [KEPT, KEPT, HALF]


def test_a_host_without_any_begins_nothing(tmp_path):
    """Nor does one without servers."""
    engine = Engine()
    KeptDirectories(tmp_path, engine).tick()
    KeptDirectories(tmp_path / "missing", engine).tick()
    assert engine.begun == []
