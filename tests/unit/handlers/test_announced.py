"""Methods that are answered at once: their failures are told, their answers stay as they are."""

from __future__ import annotations

import inspect

import pytest

from nova_lite.errors import HypervisorUnavailable
from nova_lite.handlers.announced import announced
from nova_lite.loops.inventory import InventoryReport


class Listener:
    """A notifier that keeps what it is told."""

    def __init__(self, on=True):
        self.on, self.told = on, []

    def exception(self, context, trouble):
        self.told.append((trouble.method, trouble.failure.nova_name, trouble.arguments))

    def libvirt_error(self, address, failure):
        self.told.append((address, failure.nova_name))


def show(context, instance, lines=10):
    if instance == "bad":
        raise HypervisorUnavailable("libvirt is away")
    return lines


def test_a_failure_is_told_and_reaches_the_caller():
    """Under the name of the method, with its arguments."""
    listener = Listener()
    handler = announced({"show": show}, listener)["show"]

    with pytest.raises(HypervisorUnavailable):
        handler("context", instance="bad")

    assert listener.told == [("show", "HypervisorUnavailable", {"instance": "bad"})]


def test_an_answer_is_not_told_and_the_signature_is_seen():
    """The dispatcher looks at the signature to refuse wrong arguments."""
    listener = Listener()
    handler = announced({"show": show}, listener)["show"]

    assert handler("context", instance="good", lines=3) == 3
    assert inspect.signature(handler) == inspect.signature(show)
    assert listener.told == []


def test_nothing_is_wrapped_where_nobody_listens():
    """The handlers themselves are in the table."""
    assert announced({"show": show}, Listener(on=False))["show"] is show


def test_a_hypervisor_that_does_not_answer_the_report_is_told():
    """With the address of the host; the timer still sees the failure."""
    listener = Listener()

    def report():
        raise HypervisorUnavailable("libvirt is away")

    with pytest.raises(HypervisorUnavailable):
        InventoryReport(report, listener, "10.0.0.7").tick()

    assert listener.told == [("10.0.0.7", "HypervisorUnavailable")]
