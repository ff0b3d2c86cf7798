"""What a check is, and how checks are run: side by side, each within its own time."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from nova_lite.errors import NovaLiteError

GRACE_S = 1.0  # for a check that returns just at its limit


class Status(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check found; ``remedy`` says what to do about a warning or failure."""

    status: Status
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """``look`` may raise any NovaLiteError, whose message then says what is wrong.

    :param needs: names of checks that come earlier; without them this one makes no sense
    :param limit_s: after these seconds the check counts as failed
    :param remedy: for errors raised, and when nothing answers within the limit
    """

    name: str
    look: Callable[[Any], Finding]
    remedy: str
    needs: tuple[str, ...] = ()
    limit_s: float = 20.0


@dataclass(frozen=True)
class Result:
    """The outcome of one check; ``seconds`` is how long it took."""

    name: str
    status: Status
    message: str
    remedy: str = ""
    seconds: float = 0.0


def ok(message: str) -> Finding:
    return Finding(Status.OK, message)


def warning(message: str, remedy: str) -> Finding:
    return Finding(Status.WARNING, message, remedy)


def failure(message: str, remedy: str) -> Finding:
    return Finding(Status.FAILURE, message, remedy)


def exit_code(results: Iterable[Result]) -> int:
    """0: all well, 1: warnings, 2: failures."""
    found = {result.status for result in results}
    if Status.FAILURE in found:
        return 2
    return 1 if Status.WARNING in found else 0


class _Run(threading.Thread):
    """One check in a thread of its own, which is left behind when it hangs."""

    def __init__(self, check: Check, env: Any, needed: list[_Run]) -> None:
        super().__init__(name=check.name, daemon=True)
        self.check = check
        self._env = env
        self._needed = needed
        self._began: float | None = None
        self._result: Result | None = None
        self._settled = threading.Event()

    def run(self) -> None:
        # What is needed has settled when its result is asked for: finished, or out of time.
        usable = (Status.OK, Status.WARNING)
        missing = [run.check.name for run in self._needed if run.result().status not in usable]
        began = self._began = time.monotonic()
        if missing:
            finding = Finding(Status.SKIPPED, f"needs {' and '.join(missing)}")
        else:
            finding = self._look()
        seconds = round(time.monotonic() - began, 3)
        self._result = Result(
            self.check.name, finding.status, finding.message, finding.remedy, seconds
        )
        self._settled.set()

    def _look(self) -> Finding:
        try:
            return self.check.look(self._env)
        except NovaLiteError as error:
            return failure(error.message, self.check.remedy)
        except Exception as error:  # a check must not end the others
            return failure(f"{type(error).__name__}: {error}", self.check.remedy)

    def result(self) -> Result:
        """Wait for the end or for the limit."""
        for run in self._needed:
            run.result()
        limit = self.check.limit_s
        spent = time.monotonic() - self._began if self._began is not None else 0.0
        self._settled.wait(max(0.0, limit + GRACE_S - spent))
        if self._result is not None:
            return self._result
        text = f"no answer within {limit:g} s"
        return Result(self.check.name, Status.FAILURE, text, self.check.remedy, limit)


def run(
    checks: Iterable[Check], env: Any, hide: Callable[[str], str] = lambda text: text
) -> list[Result]:
    """Run all checks at once and return their results in the given order.

    :param env: handed to every check
    :param hide: removes secrets from texts
    """
    runs: dict[str, _Run] = {}
    for check in checks:
        runs[check.name] = _Run(check, env, [runs[name] for name in check.needs if name in runs])
    for thread in runs.values():
        thread.start()
    return [
        replace(found, message=hide(found.message), remedy=hide(found.remedy))
        for found in (thread.result() for thread in runs.values())
    ]
