"""Signals of the operator."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping

LOG = logging.getLogger(__name__)


def handle(actions: Mapping[int, Callable[[], object]]) -> None:
    """Have an action carried out for each signal that comes, in a thread of its own.

    Python runs a handler in the main thread only: anywhere, also where that holds the lock which
    the action would wait for, and not at all where it goes to sleep at that very moment. So nothing
    is left to handlers: the interpreter writes the number of each signal into a pipe.

    :param actions: signal number -> what is done
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)

    def run() -> None:
        while True:
            for number in os.read(reading, 64):
                if number not in actions:
                    continue
                try:
                    actions[number]()
                except Exception:
                    LOG.exception("%s was not carried out", signal.Signals(number).name)

    threading.Thread(target=run, name="signals", daemon=True).start()
    for number in actions:
        signal.signal(number, lambda number, frame: None)
