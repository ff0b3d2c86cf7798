"""Watches a live migration that the hypervisor carries out, steers it, and tells how far it is.

The migration is the hypervisor's. Whoever watches may be another process than the one that has
begun it: times are counted by the hypervisor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from nova_lite.errors import (
    ControlPlaneUnavailable,
    HypervisorError,
    HypervisorUnavailable,
    NovaLiteError,
)
from nova_lite.model.live_migration import MigrationPhase, MigrationProgress
from nova_lite.model.states import VmState
from nova_lite.services import live_guest, live_moves, live_places, moves
from nova_lite.services.forecast import Method
from nova_lite.services.guest_events import GONE
from nova_lite.services.notes import LiveNotes
from nova_lite.services.work import Interrupted, Signal, Work

LOG = logging.getLogger(__name__)

RUNNING, POST_COPY = "running", "running (post-copy)"  # statuses of a migration
FORCE = "force_complete"
LEAST_SENT = 32 * 1024**2  # bytes; before that, buffers are filled, and a rate says little
TELL_S = 30.0  # seconds between two words in the log
STALLED_S = 30.0  # without less of the disks to be copied, they will not be there
AT_THE_END_S = 0.02  # seconds between two looks, when the hypervisor has told of the switch
SENT = ("memory_total", "memory_processed", "memory_remaining",
        "disk_total", "disk_processed", "disk_remaining")  # fmt: skip


def downtime_steps(gib: float, options: Any) -> list[tuple[int, int]]:
    """From which second on a guest may stand still for how many milliseconds, as in stock: from a
    part of the whole in equal steps.

    :param gib: how much is sent at least
    :param options: [libvirt]
    """
    whole, steps = options.live_migration_downtime, options.live_migration_downtime_steps
    delay = int(options.live_migration_downtime_delay * gib)
    first = whole / steps
    each = (whole - first) / steps
    return [(delay * step, int(first + each * step)) for step in range(steps + 1)]


class LiveWatch:
    """One migration from this host, as long as this process watches it.

    ``bandwidth`` is the best that memory was sent with so far, bytes per second.

    :param switched: called when the guest runs on the other host though it has not all of its
        memory there; may be repeated
    """

    def __init__(self, work: Work, switched: Callable[[], None]) -> None:
        self._work, self._tools = work, work.tools
        self._switched = switched
        gib = live_moves.gib(work, live_moves.copied_disks(work))
        options = work.tools.conf.libvirt
        self._steps = downtime_steps(gib, options)
        self._limit = int(options.live_migration_completion_timeout * gib)
        self._interval = max(1.0, float(options.live_migration_monitor_interval))
        self._downtime: int | None = None
        self._told: MigrationProgress | None = None
        self._told_at = self._logged_at = self._unseen_at = float("-inf")
        self._forced = self._held = self._gave_up = False
        self._disks_left: int | None = None  # the least since it was forced, and since when
        self._disks_since = float("-inf")
        self._post_copy = False
        self._planned = LiveNotes.of(work.notes).live_method == Method.POST_COPY
        self.bandwidth = 0

    def until_over(self) -> MigrationProgress:
        """Watch until the hypervisor is at the end, however that is, or knows nothing any more.

        :raises Interrupted: the agent stops; the hypervisor goes on
        """
        work, events = self._work, self._tools.guest_events
        pause, heard = self._tools.pace.live_poll, 0
        while True:
            if Signal.DRAIN in work.signals:
                raise Interrupted
            try:
                progress = self._tools.hypervisor.migration(work.uuid)
                if not progress.active:
                    return progress
                if progress.memory_processed >= LEAST_SENT:
                    self.bandwidth = max(self.bandwidth, progress.bandwidth_bytes_s)
                self._steer(progress)
            except (HypervisorError, HypervisorUnavailable) as error:
                # Nothing is known without it, and nothing may be concluded.
                self._cannot_see(error)
            else:
                self._tell(progress)
            heard, kind = events.wait(work.uuid, heard, pause)
            if kind is not None:
                pause = min(pause, AT_THE_END_S)  # it is about to be over
            if kind == GONE:
                self._follow()

    def _cannot_see(self, error: NovaLiteError) -> None:
        now = self._tools.clock.monotonic()
        if now - self._unseen_at >= TELL_S:
            self._unseen_at = now
            LOG.warning("The live migration of server %s is not seen: %s", self._work.uuid, error)

    def _follow(self) -> None:
        """The guest has left, though the hypervisor is not at the end: its ports follow at once."""
        try:
            self._switched()
        except NovaLiteError as error:
            LOG.info("The ports of server %s follow later: %s", self._work.uuid, error)

    # --- steering ---------------------------------------------------------------------------
    def _steer(self, progress: MigrationProgress) -> None:
        signals = self._work.signals
        if progress.phase is MigrationPhase.POST_COPY:
            self._run_there()
        elif Signal.ABORT in signals or Signal.DELETE in signals:
            self._give_up("its user wants it no more")
        elif Signal.FORCE_COMPLETE in signals or self._forced:
            self._force(progress)
        elif self._limit and progress.elapsed_s > self._limit:
            self._out_of_time(progress)
        elif self._planned and progress.iteration > 1:
            self._switch_over()
        elif progress.elapsed_s:  # else the hypervisor has nothing yet to set it for
            self._allow(progress.elapsed_s)

    def _give_up(self, why: str) -> None:
        if not self._gave_up:
            LOG.warning("The live migration of server %s is ended: %s", self._work.uuid, why)
            self._work.note(live_cancelled=True)
            self._gave_up = True
        live_places.abort(self._work)

    def _out_of_time(self, progress: MigrationProgress) -> None:
        if self._tools.conf.libvirt.live_migration_timeout_action == FORCE:
            self._force(progress)
        else:
            self._give_up(f"it has not come to an end within {self._limit} s")

    def _force(self, progress: MigrationProgress) -> None:
        """Let it come to an end: what the guest writes cannot keep it from that any more.

        At each look, until it is seen: while disks are copied QEMU refuses post-copy, or forgets it
        again. A guest that is held once stays so.
        """
        self._forced = True
        if self._held:
            return
        if LiveNotes.of(self._work.notes).live_held or not live_guest.may_post_copy(self._work):
            self._hold()
        elif progress.memory_total:
            self._begin_post_copy()
        elif self._disks_stall(progress):
            LOG.warning("Server %s writes to its disks as fast as they are copied: it is held",
                        self._work.uuid)  # fmt: skip
            self._hold()

    def _begin_post_copy(self) -> None:
        try:
            self._tools.hypervisor.begin_post_copy(self._work.uuid)
        except HypervisorError as error:
            LOG.warning("Server %s is not post-copied, but held: %s", self._work.uuid, error)
            self._hold()

    def _disks_stall(self, progress: MigrationProgress) -> bool:
        now, left = self._tools.clock.monotonic(), progress.disk_remaining
        if self._disks_left is None or left < self._disks_left:
            self._disks_left, self._disks_since = left, now
        return now - self._disks_since >= STALLED_S

    def _hold(self) -> None:
        """
        :raises HypervisorUnavailable: it is to be tried again
        """
        work = self._work
        if work.instance.get("vm_state") == VmState.ACTIVE:
            work.note(live_held=True)
            try:
                self._tools.hypervisor.pause(work.uuid)
            except HypervisorError as error:
                LOG.info("Server %s is not held: %s", work.uuid, error)
        self._held = True

    def _switch_over(self) -> None:
        """All of the memory was sent once: the guest goes on over there, as was chosen."""
        self._planned = False
        try:
            self._tools.hypervisor.begin_post_copy(self._work.uuid)
        except HypervisorError as error:
            LOG.warning("Server %s is not post-copied: %s", self._work.uuid, error)

    def _allow(self, elapsed_s: float) -> None:
        """Let the guest stand still for longer, the longer it takes."""
        allowed = max((ms for since, ms in self._steps if elapsed_s >= since), default=None)
        if allowed is None or allowed == self._downtime:
            return
        try:
            self._tools.hypervisor.set_migration_downtime(self._work.uuid, allowed)
            self._downtime = allowed
        except HypervisorError as error:
            LOG.warning("Server %s may not stand still for %d ms: %s",
                        self._work.uuid, allowed, error)  # fmt: skip

    def _run_there(self) -> None:
        """In post-copy the guest runs over there: that is told once, and its ports follow."""
        if self._post_copy:
            return
        work = self._work
        try:
            self._switched()
            self._tools.migrations.save(work.context, moves.migration(work), status=POST_COPY)
        except NovaLiteError as error:
            LOG.warning("Server %s runs on its new host, which is tried to be told again: %s",
                        work.uuid, error)  # fmt: skip
            return
        self._post_copy = True

    # --- telling ----------------------------------------------------------------------------
    def _tell(self, progress: MigrationProgress) -> None:
        """Save how far it is, as often as the operator wants to know, and only what is new."""
        now = self._tools.clock.monotonic()
        if now - self._logged_at >= TELL_S:
            self._logged_at = now
            LOG.info("Live migration of server %s: %.0f s, %d of %d MiB of memory and %d MiB of "
                     "disks are left", self._work.uuid, progress.elapsed_s,
                     progress.memory_remaining >> 20, progress.memory_total >> 20,
                     progress.disk_remaining >> 20)  # fmt: skip
        if now - self._told_at < self._interval:
            return
        self._told_at = now
        try:
            self._save(progress)
        except (ControlPlaneUnavailable, NovaLiteError) as error:
            LOG.info("How far server %s is on its way is not recorded: %s", self._work.uuid, error)

    def _save(self, progress: MigrationProgress) -> None:
        work, before = self._work, self._told
        sizes = {name: getattr(progress, name) for name in SENT}
        if before is None or any(getattr(before, name) != size for name, size in sizes.items()):
            self._tools.migrations.save(work.context, moves.migration(work), **sizes)
        self._told = progress
        percent = _percent(progress)
        if percent != (work.instance.get("progress") or 0):
            self._tools.instances.save(work.context, work.instance, progress=percent)


def _percent(progress: MigrationProgress) -> int:
    """How much of the memory is over there, as stock counts it."""
    if not progress.memory_total:
        return 0
    return 100 - round(100 * progress.memory_remaining / progress.memory_total)


def was_cancelled(work: Work) -> bool:
    """Whether somebody, or the time limit, has ended it."""
    signals = work.signals
    return LiveNotes.of(work.notes).live_cancelled or Signal.ABORT in signals
