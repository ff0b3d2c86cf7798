"""Workers and order: one thing at a time per server, bounded pools, stuck workers replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

LOG = logging.getLogger(__name__)

Job = Callable[[], None]


class Pool:
    """A named, bounded group of threads that start when there is work and end when idle.

    A job that runs longer than its deadline cannot be ended from outside (it hangs in libvirt or in
    storage), so it is reported, counted in ``stuck`` and its place given to a new worker: other
    servers go on.
    """

    IDLE_SECONDS = 10.0

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.stuck = 0
        self._jobs: deque[tuple[str, Job]] = deque()
        self._wake = threading.Condition()
        self._workers = 0
        self._idle = 0
        self._running: dict[int, tuple[str, float]] = {}
        self._reported: set[tuple[int, float]] = set()

    def submit(self, label: str, job: Job) -> None:
        """Run ``job`` at once where the pool has room, else as soon as a worker is free.

        ``label`` names it in the log.
        """
        with self._wake:
            self._jobs.append((label, job))
            self._add_workers()

    def _add_workers(self) -> None:
        """See that each waiting job has a worker, as far as there is room for one."""
        self._wake.notify(len(self._jobs))
        # A worker counts as idle until it has taken a job: one that was called for an earlier job
        # is not there for this one, too.
        room = self.size + self.stuck - self._workers
        for _ in range(min(room, len(self._jobs) - self._idle)):
            threading.Thread(
                target=self._work, name=f"{self.name}-{self._workers + 1}", daemon=True
            ).start()
            self._workers += 1
            self._idle += 1

    @property
    def idle(self) -> bool:
        """Whether all that was submitted is over."""
        with self._wake:
            return not self._jobs and self._idle == self._workers

    def _work(self) -> None:
        me = threading.get_ident()
        while (item := self._next()) is not None:
            label, job = item
            self._running[me] = (label, time.monotonic())
            try:
                job()
            except Exception:
                LOG.exception("%s failed outside of its own error handling", label)
            finally:
                self._running.pop(me, None)
            with self._wake:
                self._idle += 1

    def _next(self) -> tuple[str, Job] | None:
        """The next job; None: this worker is to end."""
        with self._wake:
            if not self._jobs:
                self._wake.wait(self.IDLE_SECONDS)
            self._idle -= 1
            if self._jobs and self._workers <= self.size + self.stuck:
                return self._jobs.popleft()
            self._workers -= 1
            self._wake.notify()  # if it was called for a job, that is another one's
            return None

    def replace_stuck(self, deadline: float) -> list[str]:
        """Count and report jobs older than ``deadline`` seconds; return their labels."""
        now = time.monotonic()
        late = {
            (worker, since): label
            for worker, (label, since) in list(self._running.items())
            if now - since > deadline
        }
        for job in late.keys() - self._reported:
            LOG.error("%s has been running for more than %d s; replaced its worker",
                      late[job], deadline)  # fmt: skip
        self._reported = set(late)
        with self._wake:
            self.stuck = len(late)
            self._add_workers()
        return list(late.values())


class ServerQueues:
    """Jobs of one server run one after the other, in order of arrival; servers run in parallel.

    No worker waits for a lock: a job enters its pool only when its server is free.
    """

    def __init__(self, pools: dict[str, Pool]) -> None:
        self._pools = pools
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[str, str, Job]]] = defaultdict(deque)
        self._busy: set[str] = set()
        self._settled = threading.Condition(self._lock)

    def submit(self, server: str, pool: str, label: str, job: Job) -> None:
        """Queue ``job`` for ``server``, to be run by ``pool``."""
        with self._lock:
            if server in self._busy:
                self._waiting[server].append((pool, label, job))
                return
            self._busy.add(server)
        self._dispatch(server, pool, label, job)

    def _dispatch(self, server: str, pool: str, label: str, job: Job) -> None:
        def run() -> None:
            try:
                job()
            finally:
                self._advance(server)

        self._pools[pool].submit(label, run)

    def _advance(self, server: str) -> None:
        with self._lock:
            queue = self._waiting.get(server)
            if queue:
                pool, label, job = queue.popleft()
            else:
                self._waiting.pop(server, None)
                self._busy.discard(server)
                self._settled.notify_all()
                return
        self._dispatch(server, pool, label, job)

    def busy(self, server: str) -> bool:
        """Whether anything runs or waits for ``server``."""
        with self._lock:
            return server in self._busy

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no server has work; False when ``timeout`` seconds were not enough."""
        deadline = time.monotonic() + timeout
        with self._settled:
            while self._busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._settled.wait(left)
        return True
