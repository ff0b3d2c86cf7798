"""A control plane that is upgraded under a running agent."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.membership.watch import ControlPlaneWatch
from nova_lite.wire.objects import WireObject
from nova_lite.wire.outgoing import Outgoing


class FakeServices:
    """``conductors``: their versions; ``saved``: the versions that this host has reported."""

    def __init__(self, *conductors):
        self.conductors = list(conductors)
        self.saved = []
        self.present = True

    def conductor_versions(self, context):
        return sorted(self.conductors)

    def of_host(self, context, host):
        return WireObject.new("Service", "1.22", id=7, host=host) if self.present else None

    def save(self, context, service, **fields):
        assert service["host"] == "node1"
        self.saved.append(fields["version"])


def watch(services, reported, configured=None):
    outgoing = Outgoing()
    conf = SimpleNamespace(host="node1", nova_lite=SimpleNamespace(service_version=configured))
    return ControlPlaneWatch(conf, services, outgoing, reported), outgoing


def test_an_upgrade_is_noticed_once(caplog):
    """The host reports what the new release is, and sends what it knows."""
    services = FakeServices(68)
    found, outgoing = watch(services, 68)
    found.tick()
    assert (services.saved, outgoing.release.name) == ([], "2025.1")

    services.conductors = [72]
    found.tick()
    found.tick()

    assert (services.saved, outgoing.release.name) == ([72], "2026.1")


def test_the_oldest_conductor_decides(caplog):
    """It may get a message, and its own control plane may not know newer hosts. It is said once."""
    services = FakeServices(72, 68)
    found, outgoing = watch(services, 68)

    found.tick()
    found.tick()

    assert (services.saved, outgoing.release.name) == ([], "2025.1")
    assert caplog.text.count("versions 68 to 72") == 1

    services.conductors = [72, 72]
    found.tick()
    assert (services.saved, outgoing.release.name) == ([72], "2026.1")


def test_a_host_never_reports_less_than_before():
    """The cloud refuses one that is older than all others."""
    services = FakeServices(70)
    found, outgoing = watch(services, 74)

    found.tick()

    assert (services.saved, outgoing.release.name) == ([], "2025.2")


@pytest.mark.parametrize(("conductors", "configured"), [((), None), ((74,), 70)])
def test_what_is_unknown_or_configured_stays(conductors, configured):
    """An operator's number is kept, and so is the last one while no conductor is on record."""
    services = FakeServices(*conductors)
    found, _ = watch(services, 70, configured)

    found.tick()

    assert services.saved == []


def test_a_host_whose_record_was_deleted_makes_none():
    """That is for the heartbeat to tell."""
    services = FakeServices(74)
    services.present = False
    found, _ = watch(services, 72)

    found.tick()

    assert services.saved == []


def test_newer_than_tested_is_as_the_newest():
    """A promise is not made for what nobody has seen."""
    services = FakeServices(76)
    found, outgoing = watch(services, 74)

    found.tick()

    assert (services.saved, outgoing.release.name) == ([], "2026.2")
