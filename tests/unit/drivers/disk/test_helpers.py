"""The parts below the disk backends: programs, limits, locks, records, file systems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nova_lite.drivers import disk as disks
from nova_lite.drivers.disk import durable, filesystems, info, inspect, process, qemu_img
from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.disk.qcow2 import Qcow2Backend
from nova_lite.drivers.disk.raw import RawBackend
from nova_lite.errors import DiskError, InvalidConfiguration

MIB = 1024**2


@pytest.mark.parametrize(
    ("images_type", "cow", "kind"),
    [
        ("default", True, Qcow2Backend),
        ("default", False, RawBackend),
        ("qcow2", False, Qcow2Backend),
        ("raw", True, RawBackend),
        ("flat", True, RawBackend),
    ],
)
def test_backend_by_configuration(images_type, cow, kind):
    """images_type decides; its default follows use_cow_images."""
    assert type(disks.backend(images_type, cow)) is kind


@pytest.mark.parametrize("images_type", ["lvm", "ploop"])
def test_backends_to_come(images_type):
    """Kinds that are not supported are named with those that are."""
    with pytest.raises(InvalidConfiguration, match=rf"images_type={images_type} .*qcow2, raw"):
        disks.backend(images_type, True)


def test_output_of_a_program():
    """What a program says is returned."""
    assert process.run("echo", "hello", timeout_s=5) == "hello\n"


def test_failing_program():
    """The message tells the program, its status and its complaint, and not our HTTP meaning."""
    with pytest.raises(process.ToolFailed, match="sh failed .exit status 3.: broken") as caught:
        process.run("sh", "-c", "echo broken >&2; exit 3", timeout_s=5)

    assert (caught.value.status, caught.value.code) == (3, 500)
    assert not caught.value.no_space


def test_program_that_hangs():
    """A program that outlives its time is stopped."""
    start = time.monotonic()
    with pytest.raises(process.ToolFailed, match="sleep did not finish within 0.2 s"):
        process.run("sleep", "60", timeout_s=0.2)

    assert time.monotonic() - start < 5


@pytest.mark.parametrize("limits", [None, process.Limits()])
def test_missing_program(limits):
    """A missing program is named together with its package, behind prlimit too."""
    with pytest.raises(DiskError, match="no-such-tool is not installed .*: install its-package"):
        process.run(
            "no-such-tool",
            timeout_s=5,
            limits=limits,
            packages={"no-such-tool": "its-package"},
        )


def test_cpu_limit():
    """A program that spins is killed by the kernel, and that is told apart."""
    with pytest.raises(process.ToolFailed) as caught:
        process.run("sh", "-c", "while :; do :; done", timeout_s=20, limits=process.Limits(cpu_s=1))

    assert caught.value.over_limit


def test_memory_limit():
    """The address space limit reaches the program."""
    limits = process.Limits(address_space_bytes=64 * MIB)

    assert process.run("sh", "-c", "ulimit -v", timeout_s=5, limits=limits) == f"{64 * 1024}\n"


@pytest.mark.parametrize(
    ("os_type", "default", "requested", "fs"),
    [
        ("linux", None, None, "ext4"),
        ("windows", None, None, "ntfs"),
        (None, None, None, "vfat"),
        ("linux", "xfs", None, "xfs"),
        ("linux", "xfs", "ext3", "ext3"),
    ],
)
def test_file_system_of_ephemeral_disks(os_type, default, requested, fs):
    """The request counts before the operator's default, and that before the image's os_type."""
    assert filesystems.choose(os_type, default, requested) == fs


def test_vfat_label(tmp_path):
    """vfat takes its label by another option than the rest."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(16 * MIB))
    filesystems.make(path, "vfat", "ephemeral0")

    assert b"ephemeral0" in path.read_bytes()[:512]


def test_unknown_file_system(tmp_path):
    """A file system without a tool here is an error that names the tool."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    with pytest.raises(DiskError, match="mkfs.nosuchfs is not installed"):
        filesystems.make(path, "nosuchfs", None)


def test_record_survives_parallel_disks(tmp_path):
    """Disks of one server made at once are all on record."""
    names = [f"disk.eph{number}" for number in range(8)]
    threads = [
        threading.Thread(target=info.record, args=(tmp_path / name, "qcow2")) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert info.read(tmp_path) == {str(tmp_path / name): "qcow2" for name in names}


def test_record_of_a_stock_agent_is_kept(tmp_path):
    """Entries that nova-compute wrote stay."""
    stock = {str(tmp_path / "disk.rescue"): "raw"}
    (tmp_path / "disk.info").write_text(json.dumps(stock))
    info.record(tmp_path / "disk", "qcow2")

    assert info.read(tmp_path) == {**stock, str(tmp_path / "disk"): "qcow2"}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_record(tmp_path, text):
    """A record that cannot be read is named rather than guessed around."""
    (tmp_path / "disk.info").write_text(text)
    with pytest.raises(DiskError, match="disk.info does not hold a JSON object"):
        info.record(tmp_path / "disk", "qcow2")


def test_failed_file_is_not_there(tmp_path):
    """What fails half way neither exists nor leaves anything."""
    with pytest.raises(RuntimeError), durable.made_whole(tmp_path / "file") as part:
        part.write_text("half")
        raise RuntimeError

    assert os.listdir(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from nova_lite.drivers.disk import durable
with durable.made_whole(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_killed_writer_leaves_no_file(tmp_path):
    """Kill -9 while a file is made: it is absent, and the next one makes it."""
    path = tmp_path / "file"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
        writer.kill()
    assert not path.exists() and durable.part_name(path).exists()

    with durable.made_whole(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["file"]


def test_lock_excludes_threads(tmp_path):
    """Of two threads only one holds a name; another name is free."""
    locks = NamedLocks(tmp_path / "locks")
    outcome: list[str] = []

    def other() -> None:
        try:
            with locks.held("image", 0.2):
                outcome.append("held")
        except TimeoutError:
            outcome.append("timeout")
        with locks.held("another", 0.2):
            outcome.append("another")

    with locks.held("image", 1):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    with locks.held("image", 0.2):
        pass

    assert outcome == ["timeout", "another"]


def test_base_formats(tmp_path):
    """A cached image is raw or qcow2, with its virtual size and cluster size."""
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(3 * MIB))
    qcow2 = tmp_path / "qcow2"
    qemu_img.create(qcow2, 5 * MIB, cluster_size=131072)

    assert inspect.base(raw) == inspect.Base("raw", 3 * MIB)
    assert inspect.base(qcow2) == inspect.Base("qcow2", 5 * MIB, 131072)


def test_overlay_takes_over_the_cluster_size(tmp_path):
    """An overlay of a qcow2 image with large clusters has them too."""
    base = tmp_path / "base"
    qemu_img.create(base, MIB, cluster_size=131072)
    Qcow2Backend().create(tmp_path / "uuid", disks.base.LocalDisk("disk", MIB, base=base))

    with open(tmp_path / "uuid" / "disk", "rb") as file:
        assert 1 << int.from_bytes(file.read(24)[20:], "big") == 131072


def test_direct_io_probe_leaves_nothing(tmp_path):
    """Asking whether a directory takes O_DIRECT leaves no file."""
    assert qemu_img.supports_direct_io(tmp_path) in (True, False)
    assert os.listdir(tmp_path) == []


def test_no_direct_io_where_there_is_no_directory(tmp_path):
    """A directory that cannot be written to takes no direct I/O."""
    assert not qemu_img.supports_direct_io(tmp_path / "missing")
