"""Signals of the operator."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue

LOG = logging.getLogger(__name__)


def handle(actions: Mapping[int, Callable[[], object]]) -> None:
    """Have an action carried out for each signal that comes, in a thread of its own.

    A handler interrupts the main thread anywhere, also where that holds the lock which the action
    would wait for. ``SimpleQueue.put`` is made to be called from there.

    :param actions: signal number -> what is done
    """
    received: SimpleQueue[int] = SimpleQueue()

    def run() -> None:
        while True:
            number = received.get()
            try:
                actions[number]()
            except Exception:
                LOG.exception("%s was not carried out", signal.Signals(number).name)

    threading.Thread(target=run, name="signals", daemon=True).start()
    for number in actions:
        signal.signal(number, lambda number, frame: received.put(number))
