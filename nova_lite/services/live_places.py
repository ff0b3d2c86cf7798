"""Where the guest of a live migration is: here, over there, or on its way.

The hypervisors of both hosts are asked. Nothing is concluded from a host that does not answer.
"""

from __future__ import annotations

import enum
import logging

from nova_lite.errors import HypervisorError, HypervisorUnavailable
from nova_lite.model.live_migration import (
    GuestAt,
    Migrating,
    MigrationPhase,
    MigrationProgress,
)
from nova_lite.model.states import PowerState
from nova_lite.services import live_guest, live_moves
from nova_lite.services.power_state import power_state
from nova_lite.services.work import Interrupted, Signal, Work

LOG = logging.getLogger(__name__)

TELL_S = 60.0  # seconds between two words in the log while nothing can be told
PATIENCE_S = 15.0  # for so long a hypervisor may need to let a guest go on that it has held
CERTAIN_S = 3.0  # after so long a hypervisor has dropped what it was about to drop

HELD = (Migrating.LEAVING, Migrating.UNDECIDED)
COMING = (Migrating.ARRIVING, Migrating.UNDECIDED)


class Where(enum.Enum):
    """HERE: it did not go, and does not. THERE: it has gone. ON_ITS_WAY: the hypervisor sends it.
    BROKEN: it runs nowhere, for the hypervisor was cut off when memory was on both hosts; there is
    no way back. UNCLEAR: it cannot be told yet, so that it must neither be started here nor given
    up."""

    HERE = enum.auto()
    THERE = enum.auto()
    ON_ITS_WAY = enum.auto()
    BROKEN = enum.auto()
    UNCLEAR = enum.auto()


def look(work: Work) -> Where:
    """Where the guest is now.

    Where both hosts run it (a hypervisor has lost the answer of the other one in the last moment),
    the one here is ended at once: it is the only one that this host can end.
    """
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    try:
        progress = hypervisor.migration(uuid)
        if progress.active:
            return Where.ON_ITS_WAY
        here = hypervisor.guest_at(None, uuid)
    except (HypervisorError, HypervisorUnavailable):
        return Where.UNCLEAR
    if here is None:
        return Where.THERE  # a hypervisor forgets a guest when the other one has it, and no sooner
    there, answered = _over_there(work)
    if here.settled:
        return _with_us(work, progress, there, answered)
    if not answered:
        return Where.UNCLEAR
    found = _without_us(here, there)
    if found is Where.THERE and there is not None and not there.goes_on:
        return found if _is_kept(work, there) else Where.UNCLEAR
    return found


def _over_there(work: Work) -> tuple[GuestAt | None, bool]:
    """The guest on the other host, and whether that has answered; one that an operator has declared
    dead has nothing."""
    target = live_moves.target(work)
    try:
        return work.tools.hypervisor.guest_at(live_guest.target_uri(work), work.uuid), True
    except HypervisorUnavailable as error:
        LOG.info("What of server %s is on host %s cannot be told: %s", work.uuid, target, error)
    return None, work.tools.peers.is_fenced(work.context, target)


def is_missing(work: Work) -> bool:
    """Whether the other host has said that it knows no guest of the server, or is dead."""
    there, answered = _over_there(work)
    return answered and there is None


def _with_us(
    work: Work, progress: MigrationProgress, there: GuestAt | None, answered: bool
) -> Where:
    """Where a guest is that goes on here."""
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    if there is not None and there.settled:
        LOG.critical("Server %s runs on two hosts; it is ended on this one", uuid)
        hypervisor.destroy(uuid)
        return Where.THERE
    if answered:
        return Where.HERE
    if progress.held:
        _hold(work)
        return Where.UNCLEAR
    # Of a migration that another process has begun it is not known how far it came.
    unknown = work.resumed and progress.phase is MigrationPhase.NONE
    return Where.UNCLEAR if unknown else Where.HERE


def _hold(work: Work) -> None:
    """Hold a guest that may be the second copy of one on a host that does not answer."""
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    if power_state(hypervisor, uuid) != PowerState.RUNNING:
        return
    LOG.error("Server %s is held: its migration failed in the last moment, and whether it runs on "
              "host %s that one does not say. When that host is dead, tell nova so: openstack "
              "compute service set --down", uuid, live_moves.target(work))  # fmt: skip
    work.note(live_held=True)
    hypervisor.pause(uuid)


def _without_us(here: GuestAt, there: GuestAt | None) -> Where:
    """Where a guest is that is known here and does not run, when the other host has answered."""
    if there is not None and there.goes_on:
        return Where.THERE
    if here.migrating == Migrating.BROKEN:
        return Where.BROKEN
    if here.migrating in HELD:
        return Where.UNCLEAR  # its hypervisor lets it go on, or we do
    if there is None:
        return Where.HERE
    # This host has lost its power. What is held over there has all of its memory, or is dropped.
    return Where.UNCLEAR if there.migrating == Migrating.ARRIVING else Where.THERE


def _is_kept(work: Work, there: GuestAt) -> bool:
    """Whether a guest that is off or held on the other host stays there. What did not come whole
    looks like that, too, for the moment that its libvirt needs to drop it."""
    work.tools.clock.sleep(CERTAIN_S)
    return _over_there(work) == (there, True)


def settle(work: Work, *, give_up: bool) -> Where:
    """Wait until it is clear where the guest is, however long that takes: HERE or THERE, or, unless
    it is to be given up, ON_ITS_WAY or BROKEN.

    :param give_up: end a migration that is under way; what has no way back is THERE
    :raises Interrupted: the agent stops
    """
    clock, pace = work.tools.clock, work.tools.pace
    since = told = clock.monotonic()
    while True:
        found = look(work)
        if found is Where.BROKEN and give_up:
            return Where.THERE
        if found is Where.ON_ITS_WAY and give_up:
            abort(work)
        elif found is not Where.UNCLEAR:
            return found
        now = clock.monotonic()
        if found is Where.UNCLEAR and now - since > PATIENCE_S:
            _let_go_on(work)
        if now - told > TELL_S:
            told = now
            LOG.warning("Whether server %s is here or on its new host cannot be told yet: look at "
                        "libvirt on both hosts", work.uuid)  # fmt: skip
        if Signal.DRAIN in work.signals:
            raise Interrupted
        clock.sleep(pace.live_poll)


def abort(work: Work) -> None:
    """Ask the hypervisor to give up; one that cannot any more goes on."""
    try:
        work.tools.hypervisor.abort_migration(work.uuid)
    except (HypervisorError, HypervisorUnavailable) as error:
        LOG.info("The live migration of server %s goes on: %s", work.uuid, error)


def _let_go_on(work: Work) -> None:
    """Let a guest go on that its hypervisor has held for the move and forgotten, if the other host
    has not got it: what waits for it there never gets the rest."""
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    try:
        here = hypervisor.guest_at(None, uuid)
        if here is None or here.migrating not in HELD or hypervisor.migration(uuid).active:
            return
        there, answered = _over_there(work)
        if answered and (there is None or there.migrating in COMING):
            LOG.warning("Server %s goes on here: its hypervisor has forgotten it", uuid)
            hypervisor.resume(uuid)
    except (HypervisorError, HypervisorUnavailable) as error:
        LOG.warning("The guest of server %s stays held: %s", uuid, error)
