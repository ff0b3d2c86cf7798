"""RBD volumes: where Ceph is, and as whom QEMU goes there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nova_lite.drivers.disk.process import ToolFailed
from nova_lite.drivers.volume.rbd import RbdVolumes
from nova_lite.model.volume import Connection, NetworkSource
from tests.fakes.ceph import FakeCeph, Image
from tests.fakes.conf_file import read_conf

OWN = {"libvirt": {"rbd_user": "nova", "rbd_secret_uuid": "secret-of-nova"}}
CINDERS = {"auth_enabled": True, "auth_username": "cinder", "secret_uuid": "secret-of-cinder"}


def network(tmp_path, options, **data) -> NetworkSource:
    driver = RbdVolumes(read_conf(tmp_path, options))
    data = {"name": "volumes/volume-1", "hosts": ["a", "b"], "ports": ["6789", "6790"], **data}
    source = driver.source(Connection("rbd", "vol1", data))
    assert (source.type, source.path, source.format) == ("network", "volumes/volume-1", "raw")
    assert source.network is not None
    return source.network


def test_monitors_keep_their_ports(tmp_path):
    """Each monitor has a port of its own."""
    assert network(tmp_path, {}).hosts == (("a", "6789"), ("b", "6790"))


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ({}, CINDERS, ("cinder", "ceph", "secret-of-cinder")),
        (OWN, CINDERS, ("cinder", "ceph", "secret-of-cinder")),
        (OWN, {**CINDERS, "secret_uuid": None}, ("nova", "ceph", "secret-of-nova")),
        (OWN, {"auth_enabled": False}, ("nova", "ceph", "secret-of-nova")),
        ({}, {"auth_enabled": False}, (None, None, None)),
    ],
    ids=["cinder's", "cinder's first", "no secret from cinder", "nova.conf's alone", "none"],
)
def test_user_and_secret_belong_together(tmp_path, options, data, expected):
    """Cinder's where it names a secret, else nova.conf's."""
    found = network(tmp_path, options, **data)

    assert (found.user, found.secret_type, found.secret_uuid) == expected


def test_cephs_key_is_not_kept(tmp_path):
    """Cinder may send it; libvirt has its own, and a database is no place for it."""
    driver = RbdVolumes(read_conf(tmp_path, {}))

    kept = driver.connect(Connection("rbd", "vol1", {"name": "p/v", "keyring": "key"}), "server")

    assert kept == {"name": "p/v"}


def test_an_agent_with_rbd_volumes_alone_does_not_carry_os_brick(tmp_path):
    """The library costs some 20 MiB; connector properties come from a process of their own."""
    program = f"""
import sys
from pathlib import Path
from nova_lite.drivers.volume.drivers import VolumeDrivers
from nova_lite.drivers.volume.host_connector import HostConnector
from nova_lite.model.volume import Connection
from tests.fakes.ceph import FakeCeph, Image
from tests.fakes.conf_file import read_conf
conf = read_conf(Path({str(tmp_path)!r}), {{"DEFAULT": {{"my_ip": "192.0.2.1", "host": "h1"}}}})
drivers = VolumeDrivers(conf)
volume = Connection("rbd", "vol1", {{"name": "pool/image"}})
drivers.of(volume).connect(volume, "server")
with drivers.guard({{"shared_targets": True, "service_uuid": "1"}}):
    pass
found = HostConnector(conf).properties()
assert (found["ip"], found["host"]) == ("192.0.2.1", "h1"), found
assert "os_brick" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Cluster(FakeCeph):
    """The one that a driver makes for itself; remembers as whom."""

    made: list[Cluster] = []

    def __init__(self, conf_file, user, connect_s):
        super().__init__()
        self.asked_as = (conf_file, user)
        self.images["volumes/volume-1"] = Image(1, watchers=["192.0.2.2:0/7"])
        self.made.append(self)


@pytest.mark.parametrize("permitted", [True, False])
def test_the_host_that_had_a_volume_is_shut_out(tmp_path, monkeypatch, caplog, permitted):
    """As the volume's user; where that cannot be, the log says what may happen."""
    monkeypatch.setattr("nova_lite.drivers.volume.rbd.Ceph", Cluster)
    monkeypatch.setattr(Cluster, "made", [])
    if not permitted:
        monkeypatch.setattr(Cluster, "block", lambda *_: refuse())
    driver = RbdVolumes(read_conf(tmp_path, OWN))
    data = {"name": "volumes/volume-1", **CINDERS}

    driver.shut_out(Connection("rbd", "vol1", data))

    (cluster,) = Cluster.made
    assert cluster.asked_as == ("", "cinder")
    assert list(cluster.blocked) == (["192.0.2.2:0/7"] if permitted else [])
    said = "can write to it no more" if permitted else "both write to it"
    assert "vol1" in caplog.text and said in caplog.text


def refuse():
    raise ToolFailed("ceph failed (exit status 13): access denied", 13, "")
