"""The end of a process that is only threads of this one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Killed(BaseException):
    """Raised in an agent: its process ends here."""


@contextmanager
def until_killed(within_s: float = 30.0) -> Iterator[None]:
    """Carry out what is in here; left when ``Killed`` has ended an operation of it.

    All threads of a real process end together. Here the one that raised does, while the steps
    beside it go on, in the files and under the locks of the next process. So what counts is the
    end of the operation's worker: it waits for all steps of its stage.

    :param within_s: seconds after which it is a failure that nobody was killed
    """
    ended, usual = threading.Event(), threading.excepthook

    def uncaught(arguments: threading.ExceptHookArgs) -> None:
        if isinstance(arguments.exc_value, Killed):
            ended.set()
        else:
            usual(arguments)

    threading.excepthook = uncaught
    try:
        try:
            yield
        except Killed:  # before there was a worker
            return
        assert ended.wait(within_s), f"nobody was killed within {within_s:g} s"
    finally:
        threading.excepthook = usual
