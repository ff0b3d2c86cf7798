"""Time that passes only when somebody waits."""

from __future__ import annotations

import threading
import time

from nova_lite.clock import Clock, Pace

# For agents that run against stand-ins in this process or another: nothing there takes long. A copy
# is always shown, so that what is done does not depend on how fast it is.
QUICK = Pace(
    first_retry=0.05,
    longest_retry=0.2,
    handover_patience=1.0,
    handover_poll=0.05,
    cell_move_patience=0.3,
    power_off_poll=0.02,
    volume_request=0.1,
    volume_request_poll=0.05,
    copy_poll=0.02,
    arrival_patience=0.2,
    arrival_poll=0.02,
    copy_shown_after=0.0,
    swap_poll=0.02,
    reimage_poll=0.05,
    live_poll=0.02,
    share_poll=0.02,
)


class ManualClock(Clock):
    """Whoever sleeps or waits goes on at once, and that much later. ``slept``: all the pauses."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.monotonic() if now is None else now
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def wait(self, waited_for: threading.Event | threading.Condition, seconds: float) -> bool:
        if waited_for.wait(0):
            return True
        self.sleep(seconds)
        return waited_for.wait(0)
