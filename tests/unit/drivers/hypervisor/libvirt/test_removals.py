"""Guests that answer when they are asked for a device."""

from __future__ import annotations

import time
from types import SimpleNamespace

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt.disks import Disks
from nova_lite.drivers.hypervisor.libvirt.removals import Removals
from nova_lite.errors import DeviceDetachFailed

SERVER, VOLUME = "server", "volume"
DISK = (
    "<domain><devices><disk type='block'><source dev='/dev/x'/><target dev='vdb' bus='virtio'/>"
    f"<serial>{VOLUME}</serial><alias name='ua-{VOLUME}'/></disk></devices></domain>"
)


class Guest(Disks):
    """One guest that answers in its way: ``gives``, ``refuses``, or says ``nothing``."""

    def __init__(self, manner: str) -> None:
        self._conf = SimpleNamespace(device_detach_attempts=1, device_detach_timeout=30)
        self._removals = Removals()
        self._told = {}
        self._removals.register(self)
        self.manner, self.xml = manner, DISK

    def domainEventRegisterAny(self, domain, kind, function, opaque):
        self._told[kind] = function

    def _with_domain(self, what, uuid, function, timeout=0.0):
        return function(self)

    def UUIDString(self):
        return SERVER

    def isActive(self):
        return True

    def hasManagedSaveImage(self, flags):
        return False

    def XMLDesc(self, flags):
        return self.xml

    def detachDeviceFlags(self, xml, flags):
        raise AssertionError("it is not in the definition")

    def detachDeviceAlias(self, alias, flags):
        if alias != f"ua-{VOLUME}":
            return
        if self.manner == "gives":
            self.xml = "<domain><devices/></domain>"
            self._told[libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED](None, self, alias, None)
        elif self.manner == "refuses":
            self._told[libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED](None, self, alias, None)


@pytest.mark.parametrize("manner", ["gives", "refuses"])
def test_an_answer_is_not_waited_for_once_it_is_there(manner):
    """The time limit is for guests that say nothing."""
    guest = Guest(manner)
    start = time.monotonic()
    if manner == "gives":
        guest.detach_disk(SERVER, VOLUME)
    else:
        with pytest.raises(DeviceDetachFailed, match="refused"):
            guest.detach_disk(SERVER, VOLUME)

    assert time.monotonic() - start < 0.9


def test_a_guest_that_says_nothing_has_its_time():
    guest = Guest("nothing")
    guest._conf.device_detach_timeout = 0.05
    with pytest.raises(DeviceDetachFailed, match="is its operating system up"):
        guest.detach_disk(SERVER, VOLUME)


def test_answers_about_others_are_nobody_s():
    """Another device, or one that nobody waits for any more."""
    guest, removals = Guest("nothing"), Removals()
    with removals.expect(SERVER, "ua-other") as answer:
        removals._on_refused(None, guest, f"ua-{VOLUME}", None)
    removals._on_refused(None, guest, "ua-other", None)

    assert not answer.refused
