"""Waiting for a guest that is to give a device back."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from nova_lite.drivers.hypervisor.libvirt import releases
from nova_lite.drivers.hypervisor.libvirt.releases import Releases
from nova_lite.drivers.hypervisor.libvirt.removals import Removals
from nova_lite.errors import DeviceDetachFailed

GUEST = "344a9129-b410-41e7-af51-fddb339207ce"


class Guest(Releases):
    """A guest whose system is up after it was looked at ``boots`` times."""

    def __init__(self, boots, attempts=3):
        self._conf = SimpleNamespace(device_detach_attempts=attempts, device_detach_timeout=0.06)
        self._removals = Removals()
        self.boots, self.asked = boots, 0

    def _with_domain(self, what, uuid, function, timeout=1.0):
        return function(self)

    def isActive(self):  # noqa: N802  libvirt's name
        return True

    def detachDeviceAlias(self, alias, flags):  # noqa: N802
        self.asked += alias == "ua-device"

    def release(self):
        def alias(domain):
            self.boots -= 1
            return "ua-device" if self.boots > 0 else None

        self._release(GUEST, "disk vol-1", "vol-1", alias)


@pytest.fixture(autouse=True)
def quick(monkeypatch, caplog):
    monkeypatch.setattr(releases, "LOOK_INTERVAL", 0.02)
    monkeypatch.setattr(releases, "SAID_AFTER", 0.03)
    caplog.set_level(logging.INFO)


def test_the_log_says_what_is_waited_for(caplog):
    """A guest that boots does not heed the request; nothing else tells why it takes so long."""
    guest = Guest(boots=8)

    guest.release()

    waiting = [m for m in caplog.messages if m.startswith(f"Waiting for guest {GUEST}")]
    assert "to release disk vol-1" in waiting[0]
    assert "of 3 times" in waiting[0]
    assert "operating system" in waiting[0]
    assert "has released disk vol-1 after" in caplog.messages[-1]
    assert len(waiting) <= guest.asked


def test_nothing_is_said_of_a_guest_that_heeds_it(caplog):
    """Most do so at once."""
    Guest(boots=3).release()

    assert caplog.messages == []


def test_a_guest_that_never_heeds_it_is_given_up():
    """The error says how often it was asked."""
    guest = Guest(boots=1000)
    with pytest.raises(DeviceDetachFailed, match="asked 3 times"):
        guest.release()

    assert guest.asked == 3
