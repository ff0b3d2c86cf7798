"""Which driver serves a volume, and who waits for whom."""

from __future__ import annotations

import threading
from importlib import metadata

import pytest

from nova_lite.drivers.volume import drivers as volume_drivers
from nova_lite.drivers.volume.base import VolumeDriver
from nova_lite.drivers.volume.drivers import VolumeDrivers
from nova_lite.errors import InvalidVolume
from nova_lite.model.volume import Connection
from tests.fakes.conf_file import read_conf


@pytest.fixture
def volumes(tmp_path):
    return VolumeDrivers(read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path)}}))


def connection(kind: str) -> Connection:
    return Connection(kind, "vol1", {"auth_password": "chap"})


@pytest.mark.parametrize("kind", sorted(metadata.entry_points(group="nova_lite.volume").names))
def test_every_installed_kind_can_be_loaded(volumes, kind):
    """Without the storage, and without os-brick being imported for it."""
    driver = volumes.of(connection(kind))

    assert isinstance(driver, VolumeDriver)
    assert volumes.of(connection(kind)) is driver


def test_an_unknown_kind_is_named_with_those_there_are(volumes):
    """The administrator sees what to install, or what Cinder should not have sent."""
    with pytest.raises(InvalidVolume, match="'drbd'.*vol1.*iscsi.*rbd") as raised:
        volumes.of(connection("drbd"))

    assert "chap" not in raised.value.message


@pytest.mark.parametrize(
    ("targets", "iscsiadm", "waits"),
    [
        (False, None, False),
        (None, None, True),
        (True, None, False),
        (True, b"node.session.scan", False),
        (True, b"an old one", True),
    ],
    ids=["own target", "always", "no iscsi here", "scans on demand", "scans at login"],
)
def test_who_attaches_to_a_shared_target_waits(
    volumes, tmp_path, monkeypatch, targets, iscsiadm, waits
):
    """Only where a login would bring in another server's volume."""
    program = tmp_path / "iscsiadm"
    if iscsiadm:
        program.write_bytes(iscsiadm)
    monkeypatch.setattr(volume_drivers, "ISCSIADM", (program,))
    monkeypatch.setattr(volume_drivers, "GUARD_S", 0.2)
    volume = {"shared_targets": targets, "service_uuid": "backend"}
    refused = []

    def other() -> None:
        try:
            with volumes.guard(volume):
                pass
        except TimeoutError:
            refused.append(True)

    with volumes.guard(volume):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert bool(refused) == waits
    # The file that os-brick's own guard_connection locks.
    assert (tmp_path / "locks" / "os-brick-backend").exists() == waits


def test_lock_files_are_where_other_services_look(tmp_path):
    """[oslo_concurrency]lock_path, as for every other service."""
    options = {"oslo_concurrency": {"lock_path": str(tmp_path / "shared")}}

    volumes = VolumeDrivers(read_conf(tmp_path, options))
    with volumes.guard({"shared_targets": None, "service_uuid": "backend"}):
        pass

    assert (tmp_path / "shared" / "os-brick-backend").exists()
