"""The daemon ends when it is told to, whatever it is doing in that moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import os, signal, sys
from nova_lite.cmd import compute
from nova_lite.service import Agent

class Told(Agent):
    def __init__(self):
        pass

    def start(self, stop):
        self.told = stop
        if {deaf}:  # as for the moment before it sleeps: nothing wakes it to run a handler
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP])
        with stop._cond:  # as for a moment in the wait for the event itself
            os.kill(os.getpid(), signal.{name})

    def reload(self):
        with self.told._cond:
            print("reloaded", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(self):
        print("stopped", flush=True)

sys.exit(compute.serve(Told()))
"""


def run(name: str, *, deaf: bool) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(name=name, deaf=deaf)],
        stdout=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("deaf", [False, True])
def test_a_signal_that_comes_when_the_wait_for_it_begins(deaf):
    """The thread that waits may hold the lock of the event, and may not wake for the signal."""
    assert run("SIGTERM", deaf=deaf) == (0, "stopped\n")


@pytest.mark.parametrize("deaf", [False, True])
def test_a_reload_that_comes_then(deaf):
    assert run("SIGHUP", deaf=deaf) == (0, "reloaded\nstopped\n")
