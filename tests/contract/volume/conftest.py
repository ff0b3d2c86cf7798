"""One case per kind of volume: the driver, its volumes, and how the test looks at the world."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_lite.drivers.volume import mounts
from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.block import IscsiVolumes
from nova_lite.drivers.volume.local import GpfsVolumes, LocalVolumes
from nova_lite.drivers.volume.rbd import RbdVolumes
from nova_lite.drivers.volume.remote_files import NfsVolumes
from nova_lite.model.volume import Connection
from tests.fakes import volume_driver
from tests.fakes.conf_file import read_conf
from tests.fakes.os_brick_connector import FakeConnector

SECRET = "chap-and-cephx"  # in every connection that has a place for one


class Case(ABC):
    """Volumes of one kind on a host of the test's own."""

    needs: str | None = None  # the key without which a connection is none
    connects = True  # whether this host does anything

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.conf = read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path / "state")}})

    @abstractmethod
    def agent(self) -> VolumeDriver:
        """The driver, as an agent that has just started has it."""

    @abstractmethod
    def data(self, volume_id: str) -> Mapping[str, Any]:
        """What Cinder says of a volume."""

    @abstractmethod
    def reachable(self, connection: Connection) -> bool:
        """Whether this host could read the volume now."""

    def fail(self) -> None:
        """From now on nothing can be connected."""
        pytest.skip("nothing is done that could fail")

    def close(self) -> None:  # noqa: B027  most cases have nothing to close
        """The test is over."""

    def connection(self, volume_id: str, multiattach: bool = False) -> Connection:
        return Connection(self.kind(), volume_id, self.data(volume_id), multiattach)

    def kind(self) -> str:
        return type(self).__name__.lower()

    def connect(self, connection: Connection, server: str) -> Connection:
        return replace(connection, data=self.agent().connect(connection, server))


class Rbd(Case):
    """The second of two monitors can be reached."""

    needs, connects = "name", False

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.monitor = socket.create_server(("127.0.0.1", 0))
        self.port = str(self.monitor.getsockname()[1])

    def agent(self) -> VolumeDriver:
        return RbdVolumes(self.conf)

    def data(self, volume_id: str) -> Mapping[str, Any]:
        return {
            "name": f"volumes/volume-{volume_id}",
            "hosts": ["127.0.0.1", "127.0.0.1"],
            "ports": ["9", self.port],
            "cluster_name": "ceph",
            "auth_enabled": True,
            "auth_username": "cinder",
            "secret_type": "ceph",
            "secret_uuid": "9c9d2a9f-0000-4000-8000-000000000001",
            "keyring": SECRET,
        }

    def reachable(self, connection: Connection) -> bool:
        return self.monitor.fileno() >= 0

    def fail(self) -> None:
        self.monitor.close()

    def close(self) -> None:
        self.monitor.close()


class Local(Case):
    needs, connects = "device_path", False
    driver: Callable[[Any], VolumeDriver] = LocalVolumes

    def agent(self) -> VolumeDriver:
        return type(self).driver(self.conf)

    def data(self, volume_id: str) -> Mapping[str, Any]:
        path = self.tmp_path / volume_id
        path.write_bytes(b".")
        os.truncate(path, 1024**2)
        return {"device_path": str(path)}

    def reachable(self, connection: Connection) -> bool:
        return True


class Gpfs(Local):
    driver = GpfsVolumes


class Nfs(Case):
    """A directory of this machine in the place of an NFS export: mount(8) binds it."""

    needs = "export"

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.export = tmp_path / "export"
        self.export.mkdir()
        self.options = "-o bind"

    def agent(self) -> VolumeDriver:
        return NfsVolumes(self.conf)

    def data(self, volume_id: str) -> Mapping[str, Any]:
        (self.export / f"volume-{volume_id}").write_text(volume_id)
        return {
            "export": str(self.export),
            "name": f"volume-{volume_id}",
            "format": "qcow2",
            "options": self.options,
        }

    def reachable(self, connection: Connection) -> bool:
        path = Path(self.agent().source(connection).path)
        return mounts.mounted(path.parent) and path.read_text() == connection.volume_id

    def fail(self) -> None:
        self.export = self.tmp_path / "nowhere"
        self.data = lambda volume_id: {  # type: ignore[method-assign]
            "export": str(self.export), "name": f"volume-{volume_id}", "options": "-o bind",
        }  # fmt: skip


class Iscsi(Case):
    """os-brick's connector is a fake one."""

    needs = "device_path"

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.devices = tmp_path / "by-path"
        self.devices.mkdir()
        self.failure: Exception | None = None

    def agent(self) -> VolumeDriver:
        driver = IscsiVolumes(self.conf)
        driver._connector = FakeConnector(self.devices)
        driver._connector.failure = self.failure
        return driver

    def data(self, volume_id: str) -> Mapping[str, Any]:
        return {
            "target_iqn": "iqn.2010-10.org.openstack:backend",
            "target_portal": "192.0.2.1:3260",
            "target_lun": volume_id[-1],
            "auth_method": "CHAP",
            "auth_username": "user",
            "auth_password": SECRET,
        }

    def reachable(self, connection: Connection) -> bool:
        return FakeConnector(self.devices).device(dict(connection.data)).exists()

    def fail(self) -> None:
        self.failure = RuntimeError(f"iscsiadm: no session with {SECRET}")


class Stand_In(Case):
    """The driver of functional tests, which must behave as the real ones do."""

    needs = "device_path"

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path)
        self.broken: set[str] = set()

    def agent(self) -> volume_driver.FileVolumes:
        driver = volume_driver.FileVolumes(self.tmp_path / "fake")
        driver.broken = self.broken
        return driver

    def data(self, volume_id: str) -> Mapping[str, Any]:
        return {}

    def reachable(self, connection: Connection) -> bool:
        return any(volume == connection.volume_id for volume, _ in self.agent().connected())

    def fail(self) -> None:
        self.broken = {"vol1"}


CASES: tuple[type[Case], ...] = (Rbd, Local, Gpfs, Nfs, Iscsi, Stand_In)


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.lower())
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param is Nfs and os.geteuid() != 0:
        pytest.skip("mounts need root")
    made = request.param(tmp_path)
    yield made
    made.close()
    for directory in (tmp_path / "state" / "mnt").glob("*"):
        if mounts.mounted(directory):
            os.system(f"umount {directory}")
