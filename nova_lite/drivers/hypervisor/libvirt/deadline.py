"""Blocking calls with a deadline: whoever waits goes on, the stuck thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlineExceeded(Exception):
    """The call did not return in time; it may still have its effect later."""


class TooManyStuck(Exception):
    """So many calls hang that no further one is started."""


class Deadline:
    """Runs calls on threads of their own; ``limit`` is how many given-up ones may hang about."""

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """Number of calls that were given up and have not returned yet."""
        return self._stuck

    def run(self, function: Callable[[], T], seconds: float) -> T:
        """Return what ``function`` returns, or raise what it raises.

        :raises DeadlineExceeded: it takes longer than ``seconds``
        :raises TooManyStuck: the limit of hanging calls is reached
        """
        if self._stuck >= self._limit:
            raise TooManyStuck(f"{self._stuck} calls hang")
        call = _Call(function, self._returned_late)
        threading.Thread(target=call.run, name="libvirt-call", daemon=True).start()
        if not call.finished.wait(seconds):
            with self._lock:
                if call.give_up():
                    self._stuck += 1
                    raise DeadlineExceeded(f"no answer within {seconds:g} s")
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]

    def _returned_late(self) -> None:
        with self._lock:
            self._stuck -= 1


class _Call:
    """One call; ``finished`` and ``abandoned`` exclude each other."""

    def __init__(self, function: Callable[[], object], returned_late: Callable[[], None]) -> None:
        self._function = function
        self._returned_late = returned_late
        self._lock = threading.Lock()
        self._abandoned = False
        self.finished = threading.Event()
        self.result: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # handed to the waiting thread
            self.error = error
        with self._lock:
            self.finished.set()
            late = self._abandoned
        if late:
            self._returned_late()

    def give_up(self) -> bool:
        """Whether the call is still running, and now nobody's."""
        with self._lock:
            self._abandoned = not self.finished.is_set()
            return self._abandoned
