from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from nova_lite.errors import DiskError
from nova_lite.inventory import disk

MIB = 1024**2


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, size)


def qcow2(path: Path, virtual: int, written: int = 0) -> None:
    path.parent.mkdir(exist_ok=True)
    header = b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, virtual)
    path.write_bytes(header + os.urandom(written))


def info(directory: Path, **formats: str) -> None:
    rows = {f"/some/where/{name.replace('_', '.')}": form for name, form in formats.items()}
    (directory / "disk.info").write_text(json.dumps(rows))


def test_total_and_free_are_those_of_the_file_system(tmp_path: Path) -> None:
    """A directory that does not exist yet is measured where it will be."""
    stat = os.statvfs(tmp_path)

    space = disk.look(tmp_path / "not" / "yet")

    assert space.total_gb == stat.f_blocks * stat.f_frsize // 1024**3
    assert abs(space.free_gb - stat.f_bavail * stat.f_frsize // 1024**3) <= 1
    assert abs(space.available_least_gb - space.free_gb) <= 1


def test_cached_images_take_what_they_have_written(tmp_path: Path) -> None:
    """Rounded up; holes take nothing, and there may be no cache yet."""
    assert disk.cached_gb(tmp_path, "_base") == 0
    sparse(tmp_path / "_base" / "hole", 3 * 1024**3)
    assert disk.cached_gb(tmp_path, "_base") == 0
    (tmp_path / "_base" / "image").write_bytes(os.urandom(MIB))
    assert disk.cached_gb(tmp_path, "_base") == 1


def test_disks_are_promised_at_full_size(tmp_path: Path) -> None:
    """What is written already is used; the rest of qcow2 and sparse raw disks is promised."""
    server = tmp_path / "a"
    qcow2(server / "disk", 100 * MIB, written=3 * MIB)
    sparse(server / "disk.eph0", 50 * MIB)
    info(server, disk="qcow2", disk_eph0="raw")

    promised = disk.promised(tmp_path)

    assert 146 * MIB < promised <= 147 * MIB


def test_a_raw_disk_with_a_forged_header_counts_as_raw(tmp_path: Path) -> None:
    """A guest may write what it wants into its disk; the record beside it tells the format."""
    qcow2(tmp_path / "a" / "disk", 2**60)
    info(tmp_path / "a", disk="raw")

    assert disk.promised(tmp_path) == 0


def test_a_promise_beyond_the_disk_shows_as_negative(tmp_path: Path) -> None:
    """Thin disks may be promised more than there is."""
    qcow2(tmp_path / "a" / "disk", 2**60)
    info(tmp_path / "a", disk="qcow2")

    space = disk.look(tmp_path)

    assert space.available_least_gb < 0 <= space.free_gb


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"/x/disk": 5}', '{"/x/gone": "qcow2"}'])
def test_what_is_half_there_is_skipped(tmp_path: Path, content: str) -> None:
    """Servers come and go while their directories are looked at."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "disk.info").write_text(content)
    (tmp_path / "_base").mkdir()
    (tmp_path / "compute_nodes").write_text("x")

    assert disk.promised(tmp_path) == 0


def test_a_short_qcow2_file_is_skipped(tmp_path: Path) -> None:
    """A header that is not written yet has no size."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "disk").write_bytes(b"QFI\xfb\0\0")
    info(tmp_path / "a", disk="qcow2")

    assert disk.promised(tmp_path) == 0


def test_a_file_system_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dead mount gives an error with the path."""

    def fail(path: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", fail)

    with pytest.raises(DiskError, match=f"{tmp_path}.*Input/output error"):
        disk.look(tmp_path)


def test_room_in_a_storage_of_several_hosts():
    """Other hosts promise of it, too: what is free is what is least available."""
    assert disk.shared(40 * 1024**3 + 5, 37 * 1024**3 - 1) == disk.DiskSpace(40, 36, 36)
