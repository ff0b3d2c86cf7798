"""Calls that hang are given up, counted, and limited."""

from __future__ import annotations

import threading
import time

import pytest

from nova_lite.drivers.hypervisor.libvirt.deadline import Deadline, DeadlineExceeded, TooManyStuck


def test_results_and_errors_pass_through() -> None:
    """The caller sees what the call returned or raised."""
    deadline = Deadline()

    assert deadline.run(lambda: 42, 5) == 42
    with pytest.raises(ZeroDivisionError):
        deadline.run(lambda: 1 // 0, 5)


def test_a_hanging_call_is_left_behind_and_counted_until_it_returns() -> None:
    """stuck goes up at the deadline and down when the call comes back after all."""
    deadline, gate = Deadline(), threading.Event()
    with pytest.raises(DeadlineExceeded):
        deadline.run(gate.wait, 0.05)
    assert deadline.stuck == 1

    gate.set()
    end = time.monotonic() + 5
    while deadline.stuck and time.monotonic() < end:
        time.sleep(0.01)
    assert deadline.stuck == 0


def test_hanging_calls_do_not_pile_up() -> None:
    """At the limit no further thread is started."""
    deadline, gate = Deadline(limit=1), threading.Event()
    with pytest.raises(DeadlineExceeded):
        deadline.run(gate.wait, 0.05)
    with pytest.raises(TooManyStuck):
        deadline.run(lambda: None, 5)
    gate.set()
