"""The sign of life of a host."""

from __future__ import annotations

import pytest

from nova_lite.errors import HostIdentityError
from nova_lite.loops.heartbeat import Heartbeat
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject


class Services:
    def __init__(self, error=None):
        self.saved, self.error = [], error

    def save(self, context, service, **fields):
        if self.error:
            raise self.error
        service.set(**fields)
        self.saved.append(fields)


def record():
    return WireObject.new("Service", "1.22", id=5, report_count=7)


def test_the_count_grows():
    """A count that stands still means a host that is down."""
    services = Services()
    heartbeat = Heartbeat(services, record())

    heartbeat.tick()
    heartbeat.tick()

    assert services.saved == [{"report_count": 8}, {"report_count": 9}]


def test_a_service_deleted_by_its_operator():
    """The log says what was done and what to do; the record is not made again."""
    services = Services(RemoteFailure("ServiceNotFound", "Service 5 could not be found."))

    with pytest.raises(HostIdentityError, match="deleted from the cloud.*restart"):
        Heartbeat(services, record()).tick()


def test_other_failures_stay_what_they_are():
    """They may pass."""
    services = Services(RemoteFailure("DBError", "no"))

    with pytest.raises(RemoteFailure):
        Heartbeat(services, record()).tick()


def test_a_host_that_was_believed_to_be_down_looks_for_what_was_taken_from_it():
    """Its agent ran all the time, cut off from the cloud."""
    now, returned = [0.0], []
    services = Services()
    heartbeat = Heartbeat(services, record(), 60, lambda: returned.append(now[0]), lambda: now[0])

    for moment in (10.0, 50.0, 111.0, 120.0):
        now[0] = moment
        heartbeat.tick()

    assert returned == [111.0]
