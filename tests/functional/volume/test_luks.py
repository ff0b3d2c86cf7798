"""Encrypted volumes that come empty, with QEMU's own tools."""

from __future__ import annotations

import subprocess

import pytest

from nova_lite.drivers.volume import luks

KEY = "ab" * 32
MIB = 1024**2


def qemu_io(device, key, *commands):
    opened = f"driver=luks,key-secret=key,file.driver=file,file.filename={device}"
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.run(
        ["qemu-io", "--object", f"secret,id=key,data={key}", "--image-opts", opened, *words],
        capture_output=True, text=True,
    )  # fmt: skip


def test_an_empty_device_gets_luks(tmp_path):
    """QEMU opens it with the volume's key alone; it is no larger than before."""
    device = tmp_path / "device"
    with device.open("wb") as file:
        file.truncate(8 * MIB)
    assert not luks.formatted(str(device))
    luks.format_device(str(device), KEY)

    assert luks.formatted(str(device))
    assert device.stat().st_size == 8 * MIB
    done = qemu_io(device, KEY, "write -P 7 0 64k", "read -P 7 0 64k")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Invalid password" in qemu_io(device, "cd" * 32, "read 0 64k").stderr


def test_nothing_looks_like_luks_before_it_is_whole(tmp_path, monkeypatch):
    """An agent that is killed meanwhile does it again."""
    device = tmp_path / "device"
    with device.open("wb") as file:
        file.truncate(8 * MIB)
    monkeypatch.setattr(luks.os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        luks.format_device(str(device), KEY)

    assert not luks.formatted(str(device))
    assert any(device.read_bytes())
