"""Time, as everything with a deadline or a pause sees it; tests put a clock of their own here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


class Clock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """Seconds since some moment; it is never set."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""
        time.sleep(seconds)

    def wait(self, waited_for: threading.Event | threading.Condition, seconds: float) -> bool:
        """Wait until the event is set or the condition (which is held) is notified, but no longer
        than ``seconds``; False when it was not."""
        return waited_for.wait(seconds)


SYSTEM = Clock()


@dataclass(frozen=True)
class Pace:
    """How long, and how often, the agent looks at what others do, where no option says so.

    All in seconds. The defaults are those of a real cloud, tests have less time.
    """

    # The pause before an attempt is repeated because a dependency is away grows from the first to
    # the longest.
    first_retry: float = 1.0
    longest_retry: float = 5.0
    # Given to the conductor to show that it got a build of which we do not know whether we sent it
    # back (we were killed in between, or the broker's confirmation got lost).
    handover_patience: float = 30.0
    handover_poll: float = 0.5
    # nova-conductor, which has not heard of a host for [DEFAULT]rpc_response_timeout, takes back a
    # move to another cell.
    cell_move_patience: float = 90.0
    # A guest that was asked to power itself off.
    power_off_poll: float = 0.25
    # For so long a request to make a volume may still be under way whose sender has died.
    volume_request: float = 5.0
    volume_request_poll: float = 0.5
    # A copy of a disk for a snapshot, and how long it may take before its task state is shown.
    copy_poll: float = 0.25
    copy_shown_after: float = 1.0
    # A disk that goes on as another volume; an image that Cinder writes into a volume.
    swap_poll: float = 0.5
    reimage_poll: float = 5.0
    # How far a running guest is on its way to another host.
    live_poll: float = 0.5
    # A guest of another host that libvirt is about to let go on here, or to drop.
    arrival_patience: float = 30.0
    arrival_poll: float = 0.1
    # An access rule of a share.
    share_poll: float = 1.0


USUAL = Pace()
