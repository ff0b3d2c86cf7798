"""kill -9 while a guest's memory is on its way to the disk or back: libvirt goes on by itself.

The kill matrix dies at boundaries; here the agent dies somewhere in the middle of libvirt's work,
in the second case together with libvirt.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from tests.functional.scenario_ends import prepared, undisturbed
from tests.functional.scenarios import SCENARIOS

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]

SECONDS = (0.02, 0.08, 0.15, 0.3)  # after the step's beginning; a whole save takes about 0.4
STEPS = {"suspend": "suspend_instance:save_guest", "resume": "resume_instance:restore_guest"}


@pytest.mark.parametrize("name", STEPS)
def test_killed_in_the_middle_it_ends_as_without(lab, name) -> None:
    """The next process waits for libvirt, and all ledgers end as they should."""
    scenario = SCENARIOS[name]
    trial = prepared(lab, scenario)
    _, wanted = undisturbed(trial, scenario)
    for seconds in SECONDS:
        trial.restore()
        trial.run(trial.message(scenario.method), kill_in={f"{STEPS[name]}:begin": seconds})
        trial.run()
        assert trial.look() == wanted, f"killed after {seconds} s"
    trial.clear()


def qemu_of(trial) -> int:
    """Process of the host's guest."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
                if b"qemu" in words[0] and trial.server.encode() in words:
                    return int(entry)
    raise AssertionError("no QEMU")


def test_a_save_that_takes_long_is_waited_for(lab) -> None:
    """The agent dies while QEMU does not get on; its successor does not report before it does."""
    scenario = SCENARIOS["suspend"]
    trial = prepared(lab, scenario)
    _, wanted = undisturbed(trial, scenario)
    trial.restore()
    qemu = qemu_of(trial)
    os.kill(qemu, signal.SIGSTOP)
    assert not trial.run(
        trial.message(scenario.method), kill_in={"suspend_instance:save_guest:begin": 0.5}
    )
    began = time.monotonic()
    threading.Timer(3.0, os.kill, [qemu, signal.SIGCONT]).start()
    assert trial.run()
    assert time.monotonic() - began > 2.5
    assert trial.look() == wanted
    trial.clear()
