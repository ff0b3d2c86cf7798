"""Messages that waited at the broker while no agent ran: have they been taken over?

Until then nobody can tell of a server in a task state whether its request was lost or is about to
arrive.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from nova_lite.clock import SYSTEM, Clock
from nova_lite.rpc import transport

LOG = logging.getLogger(__name__)

LOOK_EVERY = 0.2  # seconds
QUIET_LOOKS = 2  # so many in a row: a message may be on its way from the broker to us
BLIND_S = 3.0  # seconds of quiet where the broker cannot be asked
LIMIT_S = 60.0  # seconds after which it is said that some still wait


class Backlog:
    """The queues of this host at the broker.

    :param conf: a ConfigOpts, for [DEFAULT]transport_url
    :param queues: their names
    :param idle: whether all messages that were received have been promised or answered
    """

    def __init__(
        self, conf: Any, queues: Sequence[str], idle: Callable[[], bool], clock: Clock = SYSTEM
    ) -> None:
        self._conf = conf
        self._queues = queues
        self._idle = idle
        self._clock = clock

    def wait(self, stop: threading.Event) -> bool:
        """Wait until none is left; False when ``stop`` was set before."""
        began, quiet = self._clock.monotonic(), 0.0
        while not stop.is_set():
            waiting = transport.waiting(self._conf, self._queues)
            if waiting or not self._idle():
                quiet = 0.0
            else:
                quiet += LOOK_EVERY
            if quiet >= (BLIND_S if waiting is None else QUIET_LOOKS * LOOK_EVERY):
                return True
            if self._clock.monotonic() - began > LIMIT_S:
                LOG.warning("%s messages still wait for this host after %d s; servers whose "
                            "requests may be among them are looked at all the same",
                            waiting or "Some", LIMIT_S)  # fmt: skip
                return True
            self._clock.wait(stop, LOOK_EVERY)
        return False
