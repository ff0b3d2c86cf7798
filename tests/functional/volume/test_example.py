"""The example of the contributor's guide: a driver in a package of its own, with a real guest."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.volume.drivers import VolumeDrivers
from nova_lite.errors import VolumeAttachFailed
from nova_lite.model.domain import DiskSpec
from nova_lite.model.volume import Connection
from tests.contract.hypervisor.test_hypervisor_contract import real_hypervisor
from tests.fakes.conf_file import read_conf
from tests.fakes.guests import tiny_guest
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.libvirt_driver import connected

pytestmark = pytest.mark.libvirt

EXAMPLE = Path(__file__).parents[3] / "doc/source/contributor/example_nbd"
SERVER = "3b0f1c3e-0000-4000-8000-000000000001"
VOLUME = "5a1d0000-0000-4000-8000-000000000001"
PORT = 10810
SIZE = 4 * 1024**2
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
# x86: print the text after the code on the first serial port, then halt.
PRINT = bytes.fromhex("31c08ed8fcbe167cbaf803ac84c07403eeebf8f4ebfd")
HELLO = b"hello from a volume"


def boot_sector(text: bytes) -> bytes:
    return (PRINT + text + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[None]:
    """The package, built as for publishing, on the path of this interpreter."""
    source, site = tmp_path / "source", tmp_path / "site-packages"
    shutil.copytree(EXAMPLE, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    sys.path.insert(0, str(site))
    yield
    sys.path.remove(str(site))
    sys.modules.pop("nova_lite_nbd", None)


@pytest.fixture
def export(tmp_path: Path, private_libvirtd: PrivateLibvirtd) -> Iterator[Path]:
    """A volume that can be booted, exported where the guests are."""
    path = tmp_path / "volume"
    path.write_bytes(boot_sector(HELLO))
    os.truncate(path, SIZE)
    server = subprocess.Popen(
        [
            *private_libvirtd.enter(), "qemu-nbd", "--format=raw", "--persistent", "--shared=4",
            "--bind=127.0.0.1", f"--port={PORT}", f"--export-name={VOLUME}", str(path),
        ]
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while f":{PORT:04X} " not in private_libvirtd.run("cat", "/proc/net/tcp").stdout:
        assert time.monotonic() < deadline, "qemu-nbd does not listen"
        time.sleep(0.1)
    yield path
    private_libvirtd.run("sh", "-c", "kill $(pidof qemu-nbd)", check=False)
    server.wait(timeout=20)


@pytest.fixture
def hypervisor(libvirt_uri: str) -> Iterator[Hypervisor]:
    with connected(real_hypervisor(libvirt_uri)) as made:
        yield made


def among_the_guests(daemon: PrivateLibvirtd, call: Callable[[], Any]) -> Any:
    """Call in a thread that is on the guests' network, as an agent is."""
    answer: list[Any] = []

    def there() -> None:
        with daemon.network().open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        answer.append(call())

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    return answer[0]


def console_says(path: Path, text: bytes) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and text in path.read_bytes():
            return True
        time.sleep(0.2)
    return False


def test_a_guest_has_a_volume_by_a_driver_of_another_package(
    installed, export, hypervisor, private_libvirtd, tmp_path
):
    """Found by its entry point; plugged in and out of a guest, and another one boots from it."""
    conf = read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path)}})
    data = {"host": "127.0.0.1", "port": PORT, "export": VOLUME}
    volume = Connection("nbd", VOLUME, data)
    driver = VolumeDrivers(conf).of(volume)
    assert type(driver).__module__ == "nova_lite_nbd"

    kept = among_the_guests(private_libvirtd, lambda: driver.connect(volume, SERVER))
    source = driver.source(replace(volume, data=kept))
    disk = DiskSpec(
        "vdb", "virtio", source.path, format=source.format, source_type=source.type,
        network=source.network, serial=VOLUME, cache=source.cache,
    )  # fmt: skip
    running = tiny_guest(tmp_path)
    hypervisor.define(running)
    hypervisor.start(running.uuid)

    hypervisor.attach_disk(running.uuid, disk)
    (found,) = [d for d in hypervisor.disks(running.uuid) if d.serial == VOLUME]
    assert (found.target, found.plugged, found.defined) == ("vdb", True, True)
    assert among_the_guests(private_libvirtd, lambda: driver.extend(volume, 0)) == SIZE
    hypervisor.destroy(running.uuid)
    hypervisor.detach_disk(running.uuid, VOLUME)

    booted = tiny_guest(tmp_path, disks=(replace(disk, target="vda"),))
    hypervisor.define(booted)
    hypervisor.start(booted.uuid)
    assert booted.console_log is not None
    assert console_says(Path(booted.console_log), HELLO)


def test_a_server_that_is_not_there_is_named(installed, tmp_path):
    """Before the guest gets a disk that it could not read."""
    conf = read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path)}})
    volume = Connection("nbd", VOLUME, {"host": "127.0.0.1", "port": 9, "export": "x"})

    with pytest.raises(VolumeAttachFailed, match=f"{VOLUME}.*127.0.0.1:9 does not answer"):
        VolumeDrivers(conf).of(volume).connect(volume, SERVER)
