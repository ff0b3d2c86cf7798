"""How a live migration is to be carried out, as [nova_lite]live_migration_method wants it, and how
what was expected compares with what came.

What is not known is said to be so. Only figures that are known make a migration refused.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from nova_lite.errors import NovaLiteError
from nova_lite.model.live_migration import MigrationProgress
from nova_lite.model.states import PowerState, VmState
from nova_lite.services import forecast, live_guest, live_moves
from nova_lite.services.forecast import Forecast, Limits, Load, Method
from nova_lite.services.live_watch import FORCE, downtime_steps
from nova_lite.services.notes import LiveNotes
from nova_lite.services.power_state import power_state
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

AUTO = "auto"  # value of [nova_lite]live_migration_method
MIB = 1024**2
SHORT_S, LONG_S = 1, 2  # seconds of the two measurements
# Bytes per second: of 1 Gbit/s, what is left beside the frames of the network.
ASSUMED = 110 * MIB
LEAST = 16 * MIB  # bytes; what sent fewer says nothing of a link


@dataclass(frozen=True)
class Link:
    """``bandwidth`` in bytes per second; ``known``: not assumed. ``source`` is for people."""

    bandwidth: int
    known: bool
    source: str


@dataclass(frozen=True)
class Decision:
    """``method`` None: as the options of [libvirt] say. ``text`` is why, for people."""

    method: Method | None
    text: str
    expected: Forecast | None = None
    refused: bool = False


def decide(work: Work) -> Decision:
    """Measure the guest, which takes some seconds, and choose."""
    configured = str(work.tools.conf.nova_lite.live_migration_method)
    wanted = None if configured == AUTO else Method(configured)
    try:
        load = _load(work)
    except NovaLiteError as error:
        return Decision(wanted, f"no forecast, the guest's writes were not measured: {error}")
    link = _link(work)
    limits = _limits(work, _permitted(work) if wanted is None else frozenset({wanted}))
    choice = forecast.choose(load, link.bandwidth, limits)
    text = f"{choice.reason}; {link.source}"
    if choice.forecast is not None:
        return Decision(choice.forecast.method, text, choice.forecast)
    strongest = choice.all[-1]
    if wanted is not None:
        return Decision(wanted, f"{wanted}, as configured: {text}", strongest)
    if work.tools.conf.libvirt.live_migration_timeout_action == FORCE:
        text = f"{strongest.method}, to be forced when its time is over: {text}"
    elif not link.known:
        text = f"{strongest.method} is tried: {text}"
    else:
        return Decision(None, text, refused=True)
    return Decision(strongest.method, text, strongest)


def _load(work: Work) -> Load:
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    memory = work.server.flavor.memory_mb * MIB
    disks = live_moves.disk_bytes(work)
    if power_state(hypervisor, uuid) == PowerState.PAUSED:
        return Load(memory, 0, 0, disks)
    short, long = (hypervisor.dirty_rate(uuid, seconds) for seconds in (SHORT_S, LONG_S))
    return Load(
        memory, max(short, long), forecast.working_set((short, SHORT_S), (long, LONG_S)), disks
    )


def _link(work: Work) -> Link:
    limit = max(0, work.tools.conf.libvirt.live_migration_bandwidth) * MIB
    target = live_moves.target(work)
    seen = work.tools.links.of(target)
    if seen:
        speed = min(max(seen), limit or max(seen))
        source = f"the link's figure is the best of the last {len(seen)} to host {target}"
        return Link(speed, True, source)
    if limit:
        return Link(limit, True, "the link's figure is [libvirt]live_migration_bandwidth")
    return Link(
        ASSUMED, False, f"the link's figure is assumed: none to host {target} was seen before"
    )


def _limits(work: Work, methods: frozenset[Method]) -> Limits:
    options = work.tools.conf.libvirt
    gib = live_moves.gib(work, live_moves.copied_disks(work))
    timeout = int(options.live_migration_completion_timeout * gib)
    return Limits(downtime_steps(gib, options), timeout or None, methods)


def _permitted(work: Work) -> frozenset[Method]:
    """What this host's options and the two hosts allow for this server."""
    options = work.tools.conf.libvirt
    found = {Method.PRE_COPY}
    if options.live_migration_permit_auto_converge:
        found.add(Method.AUTO_CONVERGE)
    file_backed = work.tools.policy.file_backed_memory_mb > 0 or live_moves.data(work).get(
        "dst_wants_file_backed_memory", False
    )
    # QEMU before 10.1 does not have parallel connections and post-copy together.
    parallel = options.live_migration_parallel_connections > 1
    if live_guest.may_post_copy(work) and not file_backed and not parallel:
        found.add(Method.POST_COPY)
    if work.instance.get("vm_state") == VmState.PAUSED:
        found.discard(Method.AUTO_CONVERGE)  # nothing to be slowed down
    return frozenset(found)


def figures(decision: Decision) -> dict[str, Any] | None:
    """What to note of what is expected; None: nothing is."""
    expected = decision.expected
    return None if expected is None else {
        "method": str(expected.method), "seconds": expected.seconds,
        "downtime_ms": expected.downtime_ms, "sent": expected.sent,
    }  # fmt: skip


def tell_outcome(work: Work, progress: MigrationProgress) -> None:
    """Log how it went beside what was expected, and keep what the link took."""
    target = live_moves.target(work)
    sent = progress.memory_processed + progress.disk_processed
    LOG.info("Server %s has gone to host %s in %.1f s; it stood still for %d ms, %d MiB were sent; "
             "%s", work.uuid, target, progress.elapsed_s, progress.downtime_ms, sent // MIB,
             _expected(work))  # fmt: skip
    limited = work.tools.conf.libvirt.live_migration_bandwidth > 0  # tells of the limit only
    if not limited and progress.memory_processed >= LEAST and progress.bandwidth_bytes_s > 0:
        work.tools.links.add(target, progress.bandwidth_bytes_s)


def _expected(work: Work) -> str:
    found = LiveNotes.of(work.notes).live_forecast
    if found is None:
        return "there was no forecast"
    if found["seconds"] is None:
        return f"forecast: {found['method']} does not end"
    return (
        f"forecast: {found['method']}, {found['seconds']:.1f} s, {found['downtime_ms']} ms, "
        f"{found['sent'] // MIB} MiB"
    )
