"""Events from Neutron and Cinder, and what the log says of them."""

from __future__ import annotations

import logging

import pytest

from nova_lite.handlers.external_events import ExternalEvents
from nova_lite.services.events import VIF_PLUGGED, EventHub
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


def received(hub, *names):
    """One event of each name, of server s1 and port p1; what was refreshed."""
    refreshed = []
    handler = ExternalEvents(hub, lambda context, uuid, tag: refreshed.append(tag), None)
    events = [
        WireObject.new("InstanceExternalEvent", "1.5", instance_uuid="s1", name=name, tag="p1")
        for name in names
    ]
    instance = WireObject.new("Instance", "2.8", uuid="s1")
    handler.external_instance_event(RequestContext({}), [instance], events)
    return refreshed


@pytest.mark.parametrize("awaited", [True, False])
def test_an_event_that_nobody_waits_for_is_no_news(awaited, caplog):
    """Neutron sends several for each port of a boot."""
    caplog.set_level(logging.INFO)
    hub = EventHub()
    if awaited:
        hub.watch("s1")

    received(hub, VIF_PLUGGED)

    assert (VIF_PLUGGED in caplog.text) is awaited


def test_a_change_of_the_network_is_looked_at(caplog):
    """And said, for it changes what the API shows."""
    caplog.set_level(logging.INFO)

    assert received(EventHub(), "network-changed") == ["p1"]
    assert "Received event network-changed p1 for server s1" in caplog.text
