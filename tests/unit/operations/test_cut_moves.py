"""A move whose copy is cut off goes on, or the server is as before: whoever dies, or hangs."""

from __future__ import annotations

import pytest

from nova_lite.engine import patience
from nova_lite.engine.queues import Pool
from nova_lite.errors import DiskError, DiskFull, RemoteHostUnreachable
from tests.fakes.remote_files import FakeRemoteFiles
from tests.unit.operations.test_resize import as_before
from tests.unit.operations.two_hosts import TwoHosts

UNREACHABLE = "Host host1 cannot write disk on host host2 (127.0.0.2): it does not answer ssh"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(Pool, "IDLE_SECONDS", 0.02)
    monkeypatch.setitem(patience.PATIENCE, RemoteHostUnreachable, 0.3)


class CutOff(FakeRemoteFiles):
    """The first ``times`` copies of a disk come half through; then all fails while ``away``."""

    def __init__(self, here, there, times, error, away=False):
        super().__init__(here, there)
        self.times, self.error, self.away = times, error, away
        self.cuts = 0

    def send(self, local, remote_path, **more):
        if local.name != "disk" or self.cuts >= self.times:
            super().send(local, remote_path, **more)
            return
        self.cuts += 1
        part = self._at("send", f"{remote_path}.1-2.ab.part")
        part.write_bytes(local.read_bytes()[: local.stat().st_size // 2])
        more["progress"](1, 2)
        raise self.error

    def remove(self, path):
        if self.away and self.cuts:
            raise self.error
        super().remove(path)


def begun(tmp_path, times, error, away=False, **fields):
    """Two hosts, of which the first is about to send, and its disk will be cut off."""
    hosts = TwoHosts(tmp_path, volume=True, **fields)
    hosts.remote = CutOff(hosts.instances(hosts.source), hosts.instances(hosts.dest), times, error,
                          away)  # fmt: skip
    return hosts


def test_a_copy_that_is_cut_off_goes_on(tmp_path):
    """The connection was lost, and is back."""
    hosts = begun(tmp_path, 2, RemoteHostUnreachable(UNREACHABLE))

    hosts.move()

    assert (hosts.state(), hosts.remote.cuts) == (("host2", "resized", None), 2)
    assert hosts.faults() == []


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        RemoteHostUnreachable(UNREACHABLE),
        DiskError("Host host1 cannot write disk on host host2: nothing has moved for 600 s"),
        DiskFull("Host host1 cannot write disk on host host2: no space is left there"),
    ],
    ids=["unreachable", "hangs", "full"],
)
def test_a_copy_that_cannot_be_ended_leaves_the_server_as_it_was(tmp_path, error, runs):
    """On or off, with its volume; the fault names the host, and the half of the disk is gone."""
    fields = {} if runs else {"vm_state": "stopped", "power_state": 4}
    hosts = begun(tmp_path, 10**6, error, **fields)
    if not runs:
        hosts.source.hypervisor.destroy(hosts.server)

    hosts.move(until="finish_resize")

    as_before(hosts, str(error), vm_state="active" if runs else "stopped", runs=runs)
    assert not (hosts.instances(hosts.dest) / hosts.server).exists()
    assert hosts.cinder() == [("attached", "host1")]
    assert hosts.row("progress") == 0
    assert not [method for _, method, _ in hosts.peers.sent if method == "finish_resize"]


def test_a_host_that_stays_away_is_no_harm_to_the_server(tmp_path):
    """It runs again, ACTIVE; what is left there that host removes itself (remove_partial)."""
    hosts = begun(tmp_path, 10**6, RemoteHostUnreachable(UNREACHABLE), away=True)

    hosts.move(until="finish_resize")

    assert hosts.state() == ("host1", "active", None)
    assert (hosts.guest(hosts.source), hosts.migration()["status"]) == ("RUNNING", "error")
    assert "host2" in hosts.faults()[0]
    assert (hosts.instances(hosts.dest) / hosts.server).is_dir()
