"""How a live migration is to be carried out, as [nova_lite]live_migration_method wants it, and how
what was expected compares with what came.

What is not known is said to be so. Only figures that are known make a migration refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nova_lite.errors import NovaLiteError
from nova_lite.model.live_migration import MigrationProgress
from nova_lite.model.states import PowerState, VmState
from nova_lite.services import forecast, live_moves
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
# At the end of a fault, which keeps so many characters of its end (conductor/actions.py).
REMEDY = "permit post-copy or auto-converge, or raise the completion timeout"
REMEDY_SLOW = "raise [libvirt]live_migration_completion_timeout, or stop the server"


@dataclass(frozen=True)
class Link:
    """``bandwidth`` in bytes per second; ``known``: at most that for certain, so that a server may
    be refused for it. ``source`` is for people."""

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
    paused = _is_paused(work)
    excluded = _excluded(work, paused=paused)
    if wanted in excluded:
        instead = _decide(work, Method.PRE_COPY, excluded, paused=paused)
        return replace(instead, text=f"no {wanted}, {excluded[wanted]}: {instead.text}")
    return _decide(work, wanted, excluded, paused=paused)


def _decide(
    work: Work, wanted: Method | None, excluded: Mapping[Method, str], *, paused: bool
) -> Decision:
    try:
        load = _load(work, paused=paused)
    except NovaLiteError as error:
        return Decision(wanted, f"no forecast, the guest's writes were not measured: {error}")
    link = _link(work)
    methods = frozenset(Method) - excluded.keys() if wanted is None else frozenset({wanted})
    limits = _limits(work, methods)
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
        # Nothing takes less time than post-copy.
        fastest = replace(limits, methods=frozenset({Method.POST_COPY}))
        in_time = not paused and forecast.choose(load, link.bandwidth, fastest).forecast
        return Decision(None, f"{text}; {REMEDY if in_time else REMEDY_SLOW}", refused=True)
    return Decision(strongest.method, text, strongest)


def _is_paused(work: Work) -> bool:
    """Whether the guest stands still, by its user's wish or for another reason: it writes nothing,
    and neither is there anything to slow down nor anybody who would wait for its memory."""
    paused = work.instance.get("vm_state") == VmState.PAUSED
    return paused or power_state(work.tools.hypervisor, work.uuid) == PowerState.PAUSED


def _load(work: Work, *, paused: bool) -> Load:
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    memory = work.server.flavor.memory_mb * MIB
    disks, touched = live_moves.disk_bytes(work), _touched(work)
    if paused:
        return Load(memory, 0, 0, disks, touched)
    short, long = (hypervisor.dirty_rate(uuid, seconds) for seconds in (SHORT_S, LONG_S))
    writes = forecast.working_set((short, SHORT_S), (long, LONG_S))
    return Load(memory, max(short, long), writes, disks, touched)


def _touched(work: Work) -> int | None:
    """What the guest has used of its memory, in bytes: all that its process has in memory (the
    field ``rss`` of virDomainMemoryStats), without what the host has swapped out. None: it is not
    known, for large pages are not among that, and of files only what is cached."""
    server = work.server
    large = "hw:mem_page_size" in server.flavor.extra_specs
    large = large or "hw_mem_page_size" in server.image.properties
    if large or work.tools.policy.file_backed_memory_mb > 0:
        return None
    resident = work.tools.hypervisor.stats(work.uuid).memory.get("rss")
    return None if resident is None else int(resident) * 1024


def _link(work: Work) -> Link:
    limit = max(0, work.tools.conf.libvirt.live_migration_bandwidth) * MIB
    target = live_moves.target(work)
    seen = work.tools.links.of(target)
    if limit and (seen is None or not seen.fresh or seen.bytes_s >= limit):
        # It may be slower than that, never faster.
        return Link(limit, True, "link: [libvirt]live_migration_bandwidth")
    if seen is None:
        return Link(ASSUMED, False, f"link: assumed, none to host {target} was seen before")
    if not seen.fresh:
        return Link(seen.bytes_s, False, f"link: too old a figure to host {target} to trust")
    return Link(seen.bytes_s, True, f"link: best of {seen.figures} to host {target}")


def _limits(work: Work, methods: frozenset[Method]) -> Limits:
    options = work.tools.conf.libvirt
    gib = live_moves.gib(work, live_moves.copied_disks(work))
    timeout = int(options.live_migration_completion_timeout * gib)
    return Limits(downtime_steps(gib, options), timeout or None, methods)


def _excluded(work: Work, *, paused: bool) -> dict[Method, str]:
    """The ways that this host's options, the two hosts or the server rule out, and why."""
    options, found = work.tools.conf.libvirt, {}
    file_backed = work.tools.policy.file_backed_memory_mb > 0 or live_moves.data(work).get(
        "dst_wants_file_backed_memory", False
    )
    if paused:
        found[Method.AUTO_CONVERGE] = found[Method.POST_COPY] = "for the guest is paused"
    if not options.live_migration_permit_auto_converge:
        found[Method.AUTO_CONVERGE] = "which is not permitted"
    if not options.live_migration_permit_post_copy:
        found[Method.POST_COPY] = "which is not permitted"
    elif file_backed:
        found[Method.POST_COPY] = "for the memory of guests is in files"
    return found


def figures(decision: Decision) -> dict[str, Any] | None:
    """What to note of what is expected; None: nothing is."""
    expected = decision.expected
    return None if expected is None else {
        "method": str(expected.method), "seconds": expected.seconds,
        "downtime_ms": expected.downtime_ms, "sent": expected.sent,
    }  # fmt: skip


def tell_outcome(work: Work, progress: MigrationProgress, bandwidth: int) -> None:
    """Log how it went beside what was expected, and keep what the link took.

    :param bandwidth: the best that was seen on the way, bytes per second; 0: nothing was seen. The
        mean of the whole would not do: it is low where most of the memory was empty.
    """
    target = live_moves.target(work)
    sent = progress.memory_processed + progress.disk_processed
    LOG.info("Server %s has gone to host %s in %.1f s; it stood still for %d ms, %d MiB were sent; "
             "%s", work.uuid, target, progress.elapsed_s, progress.downtime_ms, sent // MIB,
             _expected(work))  # fmt: skip
    limited = work.tools.conf.libvirt.live_migration_bandwidth > 0  # tells of the limit only
    if bandwidth > 0 and not limited:
        work.tools.links.add(target, bandwidth)


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
