"""Guest life-cycle events: from libvirt's thread to a thread of ours, across reconnections.

Right after a reconnection a change can be told twice: as missed, and by its own event.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import libvirt

from nova_lite.errors import NovaLiteError
from nova_lite.model.host import DomainEvent
from nova_lite.model.states import PowerState

LOG = logging.getLogger(__name__)

# Seconds between attempts to reach a libvirtd that went away.
RECONNECT_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
# Seconds after a connection at which states are compared once more: a restarted libvirtd is silent
# about guests that stop while it still finds its way back to them (seen with 9.0.0).
SECOND_LOOK = 5.0

# libvirt's life-cycle event -> (our kind, names of its details in libvirt's order).
LIFECYCLE: Mapping[int, tuple[str, tuple[str, ...]]] = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: (
        "started",
        ("booted", "migrated", "restored", "from snapshot", "wakeup", "recovered"),
    ),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (
        "paused",
        (
            "paused",
            "migrated",
            "ioerror",
            "watchdog",
            "restored",
            "from snapshot",
            "api error",
            "postcopy",
            "postcopy failed",
        ),
    ),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (
        "resumed",
        ("unpaused", "migrated", "from snapshot", "postcopy", "postcopy failed"),
    ),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (
        "stopped",
        ("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot"),
    ),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: ("shutdown", ("finished", "guest", "host")),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: ("suspended", ("memory", "disk")),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: ("crashed", ("panicked", "crashloaded")),
}
WATCHDOG_ACTIONS = ("none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi")

# What a state change amounts to when nobody was there to hear of it.
_MISSED = {
    PowerState.RUNNING: "resumed",
    PowerState.PAUSED: "paused",
    PowerState.SHUTDOWN: "stopped",
    PowerState.CRASHED: "crashed",
    PowerState.SUSPENDED: "suspended",
}
_STATE_AFTER = {
    "started": PowerState.RUNNING,
    "resumed": PowerState.RUNNING,
    "paused": PowerState.PAUSED,
    "stopped": PowerState.SHUTDOWN,
    "crashed": PowerState.CRASHED,
    "suspended": PowerState.SUSPENDED,
}


def lifecycle_event(uuid: str, event: int, detail: int) -> DomainEvent | None:
    """The DomainEvent of a libvirt life-cycle event; None for those that say nothing of interest.

    libvirt adds details from time to time: an unknown one is given as its number.
    """
    if event not in LIFECYCLE:
        return None  # defined and undefined: our own doing as a rule
    kind, details = LIFECYCLE[event]
    return DomainEvent(uuid, kind, details[detail] if detail < len(details) else str(detail))


class EventPump:
    """Delivers events on its own thread and brings the connection back when it breaks.

    :param reconnect: opens the connection; raises NovaLiteError while libvirtd is away
    :param states: current power states by uuid, to find out what was missed meanwhile
    """

    def __init__(
        self, reconnect: Callable[[], None], states: Callable[[], dict[str, PowerState]]
    ) -> None:
        self._reconnect = reconnect
        self._states = states
        self._queue: queue.SimpleQueue[DomainEvent | str] = queue.SimpleQueue()
        self._callbacks: list[Callable[[DomainEvent], None]] = []
        self._known: dict[str, PowerState] = {}
        self._second_look: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def subscribe(self, callback: Callable[[DomainEvent], None]) -> None:
        """Call ``callback`` from now on for every event."""
        self._callbacks.append(callback)

    def start(self) -> None:
        """Start delivery, unless it runs."""
        with self._lock:
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="libvirt-events", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Stop delivery; events that wait are dropped."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            self._queue.put("stop")
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def register(self, connection: Any) -> None:
        """Ask a newly opened connection for events, and compare states with what was known."""
        for kind, function in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, self._on_watchdog),
        ):
            connection.domainEventRegisterAny(None, kind, function, None)
        self._queue.put("compare")

    def lost(self) -> None:
        """The connection broke."""
        self._queue.put("reconnect")

    # --- on libvirt's event thread: hand over and return ---------------------------------
    def _on_lifecycle(
        self, _connection: Any, domain: Any, event: int, detail: int, _opaque: object
    ) -> None:
        found = lifecycle_event(domain.UUIDString(), event, detail)
        if found is not None:
            self._queue.put(found)

    def _on_reboot(self, _connection: Any, domain: Any, _opaque: object) -> None:
        self._queue.put(DomainEvent(domain.UUIDString(), "rebooted"))

    def _on_watchdog(self, _connection: Any, domain: Any, action: int, _opaque: object) -> None:
        name = WATCHDOG_ACTIONS[action] if action < len(WATCHDOG_ACTIONS) else str(action)
        self._queue.put(DomainEvent(domain.UUIDString(), "watchdog", name))

    # --- on our own thread ---------------------------------------------------------------
    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            item = self._next()
            if stop.is_set():
                return
            if isinstance(item, DomainEvent):
                self._deliver(item)
            elif item == "reconnect":
                self._bring_back(stop)
            elif item in ("compare", "compare again"):
                self._compare()
                again = item == "compare"
                self._second_look = time.monotonic() + SECOND_LOOK if again else None

    def _next(self) -> DomainEvent | str:
        """What to do next; waits for it."""
        due = self._second_look
        try:
            return self._queue.get(timeout=None if due is None else max(0, due - time.monotonic()))
        except queue.Empty:
            return "compare again"

    def _bring_back(self, stop: threading.Event) -> None:
        attempt = 0
        while not stop.is_set():
            try:
                self._reconnect()
                return
            except NovaLiteError as error:
                delay = RECONNECT_DELAYS[min(attempt, len(RECONNECT_DELAYS) - 1)]
                LOG.warning("%s; trying again in %g s", error, delay)
                attempt += 1
                stop.wait(delay)

    def _compare(self) -> None:
        try:
            states = self._states()
        except NovaLiteError as error:
            LOG.warning("Cannot tell which guests changed while libvirt was away: %s", error)
            return
        for uuid, known in list(self._known.items()):
            state = states.get(uuid)
            if state is not None and state != known and state in _MISSED:
                started = state == PowerState.RUNNING and known != PowerState.PAUSED
                kind = "started" if started else _MISSED[state]
                self._deliver(DomainEvent(uuid, kind, "missed"))
        self._known = states

    def _deliver(self, event: DomainEvent) -> None:
        if event.kind in _STATE_AFTER:
            self._known[event.uuid] = _STATE_AFTER[event.kind]
        for callback in list(self._callbacks):
            try:
                callback(event)
            except Exception:  # one subscriber's bug must not cost the others their events
                LOG.exception("Handling %s of guest %s failed", event.kind, event.uuid)
