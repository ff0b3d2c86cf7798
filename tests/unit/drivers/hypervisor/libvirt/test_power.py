"""Guests that do not start, and why."""

from __future__ import annotations

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import power
from nova_lite.drivers.hypervisor.libvirt.power import _blame_volume
from nova_lite.errors import VolumeUnusable

VOLUME = "f7c58d66-c3e6-4493-a6b5-44123bb28bc3"
# As QEMU 7.2 and libvirt 9.0 say it.
IN_CEPH = (
    "internal error: qemu unexpectedly closed the monitor: 2026-11-21T16:15:53.575527Z "
    'qemu-system-x86_64: -blockdev {"driver":"rbd","pool":"volumes","image":'
    f'"volume-{VOLUME}",'
    '"server":[{"host":"127.0.0.1","port":"6789"}],"user":"cinder","node-name":'
    '"libvirt-2-storage","cache":{"direct":true,"no-flush":false},"discard":"unmap"}: '
    f"error reading header from volume-{VOLUME}: No such file or directory"
)
A_FILE = (
    f"Cannot access storage file '/mnt/share/volume-{VOLUME}' (as uid:64055, gid:64055): "
    "No such file or directory"
)


class Disk:
    """A domain with a local root disk and one volume."""

    def __init__(self, kind: str, source: str) -> None:
        self._xml = (
            "<domain><devices>"
            "<disk type='file'><source file='/instances/x/disk'/><target dev='vda'/></disk>"
            f"<disk type='{kind}'><source {source}/><target dev='vdb'/>"
            f"<serial>{VOLUME}</serial></disk></devices></domain>"
        )

    def XMLDesc(self, flags: int) -> str:
        return self._xml


@pytest.mark.parametrize(
    ("message", "source"),
    [(IN_CEPH, f"name='volumes/volume-{VOLUME}'"), (A_FILE, f"file='/mnt/share/volume-{VOLUME}'")],
)
def test_the_volume_that_cannot_be_opened_is_named(message: str, source: str) -> None:
    """With what is wrong with it and what to do; nothing else of QEMU's command line."""
    kind = "file" if source.startswith("file") else "network"
    with pytest.raises(VolumeUnusable) as caught:
        _blame_volume(Disk(kind, source), message)

    text = str(caught.value)
    assert f"volume {VOLUME} (vdb) cannot be opened: " in text and "No such file" in text
    assert "detach it" in text and "blockdev" not in text
    assert len(text) <= 255  # a fault has no more


def test_other_reasons_are_nobody_s_fault() -> None:
    """They are told as they are."""
    domain = Disk("network", f"name='volumes/volume-{VOLUME}'")
    _blame_volume(domain, "unable to map backing store for guest RAM: Cannot allocate memory")
    _blame_volume(domain, "Cannot access storage file '/instances/x/disk': No such file")


class Late:
    """A domain whose guest agent is there after some requests."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.told: list[int] = []

    def UUIDString(self) -> str:
        return "8f0d2c5e-64b2-4d0e-9d3e-93f2c4e9b8aa"

    def setTime(self, when: dict[str, int], flags: int) -> None:
        if self.refusals:
            self.refusals -= 1
            raise LibvirtFault(libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
        self.told.append(when["seconds"])


class LibvirtFault(libvirt.libvirtError):
    def __init__(self, code: int) -> None:
        Exception.__init__(self, "Guest agent is not responding: not connected")
        self.err = (code, 0, str(self), 0, "", None, None, 0, 0)


def test_the_clock_waits_for_an_agent_that_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a guest's memory is restored; elsewhere nobody waits for an agent that is not there."""
    monkeypatch.setattr(power, "AGENT_PAUSE", 0.0)
    late = Late(2)
    power._set_clock(late, 0.0)
    assert not late.told
    power._set_clock(late, 60.0)
    assert late.told and not late.refusals
