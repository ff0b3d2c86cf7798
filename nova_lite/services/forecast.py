"""How long a live migration will take and how long the guest will stand still: arithmetic only.

A guest's memory is sent in passes: each sends what the guest has written to during the one before,
until what is left can be sent within the permitted stop. How fast a guest writes is measured as
pages written to at least once within a second; it never writes to more than its working set. Sizes
are bytes, rates bytes per second.

QEMU, docs/devel/migration (pre-copy, post-copy) and migration/ram.c (the trigger of auto-converge).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

# What a stop takes beside the memory: devices, the word between the daemons (milliseconds).
SWITCH_MS = 50
# More passes than that do not make a migration converge that has not by then.
PASSES = 1000
# Auto-converge of QEMU: after two passes in a row in which the guest wrote to more than half of
# what was sent it gets 20 percent less time, and 10 percent less each time again, down to 1.
THROTTLE_FIRST, THROTTLE_STEP, THROTTLE_LAST = 20, 10, 99
THROTTLE_SHARE, THROTTLE_TWICE = 0.5, 2
# QEMU looks at 512 pages of each GiB to measure how fast a guest writes: what fewer than so many of
# them tell is chance.
SAMPLE, SAMPLES = 1024**3 // 512, 16
# What of the link's bandwidth is taken to be there.
CAUTION = 0.9


class Method(StrEnum):
    """The ways to migrate a guest that writes to its memory."""

    PRE_COPY = "pre-copy"
    AUTO_CONVERGE = "auto-converge"
    POST_COPY = "post-copy"


@dataclass(frozen=True)
class Load:
    """What is to be sent and what the guest does meanwhile.

    ``memory`` is what it has, at most; ``disks`` are copied before. It writes ``dirty_rate`` and
    has a ``working_set``, None where that is not known: all of its memory. ``touched`` is what it
    has used so far, None where that is not known: of empty pages next to nothing is sent.
    """

    memory: int
    dirty_rate: int
    working_set: int | None = None
    disks: int = 0
    touched: int | None = None

    @property
    def first_pass(self) -> int:
        """The memory that is sent in any case."""
        return self.memory if self.touched is None else min(self.touched, self.memory)

    def written(self, seconds: float, share: float = 1.0) -> float:
        """What it has written to after some seconds.

        :param share: of the time that it runs
        """
        limit = self.memory if self.working_set is None else min(self.working_set, self.memory)
        return min(self.dirty_rate * share * seconds, limit)


@dataclass(frozen=True)
class Limits:
    """What is permitted: a total time (None: any), and the stop's length in milliseconds.

    ``downtime_steps`` are (seconds after the beginning, milliseconds permitted from then on), in
    order; the first begins at 0.
    """

    downtime_steps: Sequence[tuple[float, int]]
    timeout_s: float | None = None
    methods: frozenset[Method] = frozenset({Method.PRE_COPY})

    def downtime_ms(self, elapsed: float) -> int:
        """The stop that is permitted by then."""
        return [ms for begin, ms in self.downtime_steps if begin <= elapsed][-1]

    def since(self, stop_ms: float) -> float | None:
        """Seconds from which on a stop is permitted; None: never."""
        return next((begin for begin, ms in self.downtime_steps if stop_ms <= ms), None)


@dataclass(frozen=True)
class Forecast:
    """What one way would take. ``seconds`` and ``downtime_ms`` are None where it does not end.

    ``slowed_s``: how long the guest would run with less than its share of processors, or wait for
    memory; ``passes`` over the memory; ``sent`` bytes.
    """

    method: Method
    seconds: float | None
    downtime_ms: int | None
    passes: int
    slowed_s: float = 0.0
    sent: int = 0

    def within(self, limits: Limits) -> bool:
        """Whether it ends in time."""
        return self.seconds is not None and (
            limits.timeout_s is None or self.seconds <= limits.timeout_s
        )


@dataclass(frozen=True)
class Choice:
    """What to do, None for nothing, and why: a sentence for log and action event."""

    forecast: Forecast | None
    reason: str
    all: tuple[Forecast, ...] = ()


def working_set(short: tuple[int, float], long: tuple[int, float]) -> int | None:
    """The working set, as two measurements tell: what was written to in the longer one, unless
    that is much more than in the shorter.

    :param short: bytes per second, and seconds that they were measured for
    :return: None where the guest was still writing to new pages, or too few to tell
    """
    few, many = short[0] * short[1], long[0] * long[1]
    if few < SAMPLES * SAMPLE:
        return None
    growth, time = many - few, long[1] / short[1]
    # Of one without bounds the longer would have found as many times more as it is longer.
    return int(max(few, many)) if growth < few * (time - 1) / 2 else None


def pre_copy(load: Load, bandwidth: int, limits: Limits) -> Forecast:
    """As long as nothing is done to the guest."""
    return _passes(Method.PRE_COPY, load, bandwidth, limits, lambda _left, _sent: 0)


def auto_converge(load: Load, bandwidth: int, limits: Limits) -> Forecast:
    """With a guest that gets less and less time until it writes slowly enough."""
    return _passes(Method.AUTO_CONVERGE, load, bandwidth, limits, _Throttle())


def post_copy(load: Load, bandwidth: int, limits: Limits) -> Forecast:
    """One pass, and the guest goes on over there; what it has written to meanwhile follows."""
    first = (load.disks + load.first_pass) / bandwidth
    rest = load.written(load.first_pass / bandwidth) / bandwidth
    return Forecast(Method.POST_COPY, first + rest, SWITCH_MS, 1, slowed_s=rest,
                    sent=int((first + rest) * bandwidth))  # fmt: skip


class _Throttle:
    """QEMU's auto-converge: percent of its time that the guest loses."""

    def __init__(self) -> None:
        self.percent = 0
        self._often = 0

    def __call__(self, left: float, sent: float) -> int:
        """After a pass that has sent ``sent`` and left ``left``."""
        self._often = self._often + 1 if left > sent * THROTTLE_SHARE else 0
        if self._often >= THROTTLE_TWICE:
            self._often = 0
            more = THROTTLE_STEP if self.percent else THROTTLE_FIRST
            self.percent = min(self.percent + more, THROTTLE_LAST)
        return self.percent


def _passes(
    method: Method,
    load: Load,
    bandwidth: int,
    limits: Limits,
    throttle: Callable[[float, float], int],
) -> Forecast:
    elapsed, slowed, percent = load.disks / bandwidth, 0.0, 0
    total = float(load.disks)
    left = float(load.first_pass)
    number = 0
    while number < PASSES:
        number += 1
        took, sent = left / bandwidth, left
        elapsed += took
        total += sent
        slowed += took * percent / 100
        left = load.written(took, 1 - percent / 100)
        stop = left / bandwidth * 1000
        if method == Method.PRE_COPY and left == sent:  # so is every further pass
            since = limits.since(stop)
            if since is None:
                break
            more = max(0, math.ceil((since - elapsed) / took))
            number, elapsed, total = number + more, elapsed + more * took, total + more * sent
        if stop <= limits.downtime_ms(elapsed):
            return Forecast(
                method, elapsed + (stop + SWITCH_MS) / 1000, round(stop + SWITCH_MS), number,
                slowed, sent=int(total + left),
            )
        before, percent = percent, throttle(left, sent)
        grown = left >= sent and percent == before
        if grown and _last_step(limits) <= elapsed and method == Method.PRE_COPY:
            break  # each further pass would be like this one
    return Forecast(method, None, None, number, slowed)


def _last_step(limits: Limits) -> float:
    """Seconds from which on the longest stop is permitted."""
    return limits.downtime_steps[-1][0]


_FORECASTS = {
    Method.PRE_COPY: pre_copy,
    Method.AUTO_CONVERGE: auto_converge,
    Method.POST_COPY: post_copy,
}


def choose(load: Load, bandwidth: int, limits: Limits) -> Choice:
    """The gentlest permitted way that ends in time.

    :param bandwidth: of the link between the hosts, or of [libvirt]live_migration_bandwidth
    :raises ValueError: ``bandwidth`` is not positive
    """
    if bandwidth <= 0:
        raise ValueError(f"a bandwidth of {bandwidth} bytes per second moves nothing")
    usable = max(1, int(bandwidth * CAUTION))
    found = tuple(
        forecast(load, usable, limits)
        for method, forecast in _FORECASTS.items()
        if method in limits.methods
    )
    facts = (
        f"the guest writes {_mib(load.dirty_rate)} MiB/s, the link takes {_mib(bandwidth)} MiB/s, "
        f"{_mib(load.first_pass + load.disks)} MiB are to be sent"
    )
    for forecast in found:
        if forecast.within(limits):
            return Choice(forecast, f"{describe(forecast)}: {facts}", found)
    tried = "; ".join(describe(forecast) for forecast in found) or "no way is permitted"
    limit = "" if limits.timeout_s is None else f" within {limits.timeout_s:.0f} s"
    return Choice(None, f"it would not end{limit}: {facts} ({tried})", found)


def describe(forecast: Forecast) -> str:
    """In words."""
    if forecast.seconds is None or forecast.downtime_ms is None:
        return f"{forecast.method} does not end"
    return (
        f"{forecast.method} takes {forecast.seconds:.0f} s and stops the guest for "
        f"{forecast.downtime_ms} ms"
    )


def _mib(size: int) -> str:
    return f"{size / 1024**2:.0f}"
