"""The daemon ends when it is told to, whatever it is doing in that moment."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import os, signal, sys
from nova_lite.cmd import compute
from nova_lite.service import Agent

class Told(Agent):
    def __init__(self):
        pass

    def start(self, stop):
        self.told = stop
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


def run(name: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(name=name)],
        stdout=subprocess.PIPE, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_signal_that_comes_when_the_wait_for_it_begins():
    """Its handler runs in the thread that waits, wherever that is: it must not wait for a lock."""
    assert run("SIGTERM") == (0, "stopped\n")


def test_a_reload_that_comes_then():
    assert run("SIGHUP") == (0, "reloaded\nstopped\n")
