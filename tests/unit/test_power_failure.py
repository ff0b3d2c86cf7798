"""The stand-in for a power failure forgets what was not synced, and only that."""

from __future__ import annotations

import os

import pytest

from nova_lite.drivers.disk import durable
from nova_lite.engine.journal import Journal
from tests.fakes.power_failure import DurableFiles

INTENT = {"request_id": "req-1", "method": "stop_instance", "server": "s1"}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A directory whose syncs are recorded from now on; ``cut`` is the power failure."""
    root = tmp_path / "root"
    (root / "before").mkdir(parents=True)
    (root / "before" / "old").write_text("old")
    files = DurableFiles(root, tmp_path / "store")
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, getattr(os, name))
    files.record()
    return root, files.lose_rest


def test_what_was_there_stays_and_what_is_not_synced_goes(disk):
    """Changes, new files, removals: none of them is on the disk."""
    root, cut = disk
    (root / "before" / "old").write_text("new")
    (root / "made").write_text("made")
    (root / "before" / "old").rename(root / "moved")
    cut()

    assert [path.name for path in root.iterdir()] == ["before"]
    assert (root / "before" / "old").read_text() == "old"


def test_a_file_needs_its_directory_and_a_directory_its_files(disk):
    """A name without bytes, and bytes without a name."""
    root, cut = disk
    (root / "named").write_text("bytes")
    durable.sync(root)
    (root / "nameless").write_text("bytes")
    durable.sync(root / "nameless")
    cut()

    assert sorted(path.name for path in root.iterdir()) == ["before", "named"]
    assert (root / "named").read_text() == ""


def test_what_the_product_calls_durable_is(disk):
    """A file that is made whole, and a promise with its synced notes; marks of steps are not."""
    root, cut = disk
    with durable.made_whole(root / "whole") as part:
        part.write_text("all of it")
    journal = Journal(root / "journal")
    journal.prepare()
    entry = journal.open(INTENT)
    entry.note(port="p1")
    entry.mark("begin", "first")
    cut()

    assert (root / "whole").read_text() == "all of it"
    (left,) = Journal(root / "journal").entries()
    assert (left.intent, left.notes, left.begun) == (INTENT, {"port": "p1"}, set())


def test_a_directory_that_is_made_is_there_with_what_is_above_it(disk):
    """Without that, whole files in it would be lost."""
    root, cut = disk
    durable.make_directory(root / "a" / "b")
    cut()

    assert (root / "a" / "b").is_dir()


def test_an_entry_that_was_removed_is_back(disk):
    """Its directory is not synced when it goes."""
    root, cut = disk
    journal = Journal(root / "before")
    journal.open(INTENT).close()
    cut()

    assert [left.intent for left in Journal(root / "before").entries()] == [INTENT]
