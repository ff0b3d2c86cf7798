"""A directory of a server is removed whole, and nothing that has taken its place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nova_lite.errors import DiskError
from nova_lite.services import disk_files
from nova_lite.services.disk_files import Seen, remove_tree, removed_name


@pytest.fixture
def where(tmp_path):
    return filled(tmp_path / "server", "old")


def filled(path, content):
    (path / "swtpm").mkdir(parents=True)
    for name in ("disk", "swtpm/state"):
        (path / name).write_text(content)
    return path


def before_removal(monkeypatch, change):
    """Somebody does something at the last moment before the directory gets its other name."""
    real, done = os.rename, []

    def rename(source, target):
        if not done:
            done.append(True)
            change()
        real(source, target)

    monkeypatch.setattr("nova_lite.services.disk_files.os.rename", rename)


def test_all_of_it_goes(where):
    """Twice, too; and none is success."""
    for _ in range(2):
        remove_tree(where)

    assert list(where.parent.iterdir()) == []


def test_the_rest_of_an_earlier_removal_goes_first(where, monkeypatch):
    """Else the directory would be removed under its own name, and half of it be taken for a
    server's."""
    filled(removed_name(where), "older")
    real, removed = shutil.rmtree, []

    def rmtree(path, *more, **options):
        removed.append(Path(path).name)
        real(path, *more, **options)

    monkeypatch.setattr("nova_lite.services.disk_files.shutil.rmtree", rmtree)

    remove_tree(where)

    assert list(where.parent.iterdir()) == []
    assert set(removed) == {removed_name(where).name}


def test_what_has_taken_its_place_stays(where, monkeypatch):
    """Another operation has brought back what it had kept, after somebody had looked."""
    kept = filled(where.with_name("kept"), "kept")

    def change():
        shutil.rmtree(where)
        kept.rename(where)

    before_removal(monkeypatch, change)

    with Seen(where) as seen, pytest.raises(DiskError, match="server.*another directory"):
        remove_tree(where, seen)

    assert (where / "disk").read_text() == "kept"
    assert [path.name for path in where.parent.iterdir()] == ["server"]


def test_what_is_made_while_another_one_is_put_back_stays(where, monkeypatch):
    """Nobody knows which is the right one: neither is removed, and both are named."""
    before_removal(monkeypatch, lambda: (shutil.rmtree(where), filled(where, "second")))
    real = disk_files._put_back
    monkeypatch.setattr(
        disk_files, "_put_back", lambda *names: (filled(where, "third"), real(*names))[1]
    )

    with Seen(where) as seen, pytest.raises(DiskError, match="server_other"):
        remove_tree(where, seen)

    found = {path.name: (path / "disk").read_text() for path in where.parent.iterdir()}
    assert found == {"server": "third", "server_other": "second"}


def test_one_that_is_gone_by_then_is_success(where, monkeypatch):
    """Another host that shares it was faster."""
    before_removal(monkeypatch, lambda: shutil.rmtree(where))

    with Seen(where) as seen:
        remove_tree(where, seen)

    assert list(where.parent.iterdir()) == []


def test_what_appears_where_nothing_was_stays(tmp_path):
    """Whoever has seen no directory removes none."""
    where = tmp_path / "server"
    with Seen(where) as seen:
        filled(where, "new")
        with pytest.raises(DiskError, match="another directory"):
            remove_tree(where, seen)

    assert (where / "disk").read_text() == "new"


@pytest.mark.parametrize("late", [False, True])
def test_a_link_leads_nowhere(where, monkeypatch, late):
    """Whoever has put it there: what it leads to stays, and it goes."""
    other = filled(where.with_name("other"), "other")

    def change():
        shutil.rmtree(where)
        where.symlink_to(other)

    if late:
        before_removal(monkeypatch, change)
        with Seen(where) as seen, pytest.raises(DiskError):
            remove_tree(where, seen)
        assert where.is_symlink()
    else:
        change()
        remove_tree(where)
        assert [path.name for path in where.parent.iterdir()] == ["other"]
    assert {(other / name).read_text() for name in ("disk", "swtpm/state")} == {"other"}


def test_links_inside_of_it_are_not_followed(where):
    """A guest's share may be one."""
    other = filled(where.with_name("other"), "other")
    (where / "link").symlink_to(other)

    remove_tree(where)

    assert (other / "disk").read_text() == "other"
    assert not where.exists()


def test_a_link_under_the_private_name_is_not_followed(where):
    """It goes, and then the directory."""
    other = filled(where.with_name("other"), "other")
    removed_name(where).symlink_to(other)

    remove_tree(where)

    assert [path.name for path in where.parent.iterdir()] == ["other"]
    assert (other / "disk").read_text() == "other"


def test_files_that_another_host_removes_meanwhile_are_no_error(where, monkeypatch):
    """Both of them have found the rest of a removal in a directory that they share."""
    real = os.unlink

    def unlink(path, **options):
        real(path, **options)
        real(path, **options)  # the second one finds it gone

    monkeypatch.setattr(os, "unlink", unlink)

    remove_tree(where)

    assert list(where.parent.iterdir()) == []
