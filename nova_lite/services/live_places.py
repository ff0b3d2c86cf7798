"""Where the guest of a live migration is: here, over there, or on its way.

The hypervisors of both hosts are asked. Nothing is concluded from a host that does not answer.
"""

from __future__ import annotations

import enum
import logging

from nova_lite.errors import HypervisorError, HypervisorUnavailable
from nova_lite.model.live_migration import GuestAt, Migrating
from nova_lite.services import live_guest
from nova_lite.services.work import Interrupted, Signal, Work

LOG = logging.getLogger(__name__)

TELL_S = 60.0  # seconds between two words in the log while nothing can be told
HELD_S = 15.0  # for so long a hypervisor may need to let a guest go on that it has held


class Where(enum.Enum):
    """HERE: it did not go, and does not. THERE: it has gone. ON_ITS_WAY: the hypervisor sends it.
    UNCLEAR: it cannot be told yet, so that it must neither be started here nor given up."""

    HERE = enum.auto()
    THERE = enum.auto()
    ON_ITS_WAY = enum.auto()
    UNCLEAR = enum.auto()


def look(work: Work) -> Where:
    """Where the guest is now.

    Where both hosts have it, both run it: a hypervisor has lost the answer of the other one in the
    last moment. Then the one here is ended at once: it is the only one that this host can end.
    """
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    try:
        if hypervisor.migration(uuid).active:
            return Where.ON_ITS_WAY
        here = hypervisor.guest_at(None, uuid)
    except HypervisorUnavailable:
        return Where.UNCLEAR
    if here is None:
        return Where.THERE  # a hypervisor forgets a guest when the other one has it, and no sooner
    there, answered = _over_there(work)
    if here.settled:
        if there is None or not there.settled:
            return Where.HERE
        LOG.critical("Server %s runs on two hosts; it is ended on this one", uuid)
        hypervisor.destroy(uuid)
        return Where.THERE
    if not answered:
        return Where.UNCLEAR
    return _without_us(here, there)


def _over_there(work: Work) -> tuple[GuestAt | None, bool]:
    """The guest on the other host, and whether that has answered."""
    try:
        return work.tools.hypervisor.guest_at(live_guest.target_uri(work), work.uuid), True
    except HypervisorUnavailable as error:
        LOG.info("What of server %s is on its new host cannot be told: %s", work.uuid, error)
        return None, False


def _without_us(here: GuestAt, there: GuestAt | None) -> Where:
    """Where a guest is that is known here and does not run, when the other host has answered."""
    held = here.migrating == Migrating.LEAVING
    if there is None:
        # It can be started here. One that is held is let go by its hypervisor, or by us.
        return Where.UNCLEAR if held else Where.HERE
    if there.settled or there.migrating in (Migrating.POST_COPY, Migrating.BROKEN):
        return Where.THERE
    if there.migrating == Migrating.ARRIVING:
        return Where.UNCLEAR
    # Defined there, and off: it has been there, unless it is still whole here.
    return Where.UNCLEAR if held else Where.THERE


def settle(work: Work, *, give_up: bool) -> Where:
    """Wait until it is clear where the guest is, however long that takes; HERE or THERE, or, unless
    it is to be given up, ON_ITS_WAY.

    :param give_up: end a migration that is under way
    :raises Interrupted: the agent stops
    """
    clock, pace = work.tools.clock, work.tools.pace
    since = told = clock.monotonic()
    while True:
        found = look(work)
        if found is Where.ON_ITS_WAY and give_up:
            abort(work)
        elif found is not Where.UNCLEAR:
            return found
        now = clock.monotonic()
        if found is Where.UNCLEAR and now - since > HELD_S:
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
    """Let a guest go on that its hypervisor has held for the move and forgotten, if nobody else has
    it: that was asked just now."""
    hypervisor, uuid = work.tools.hypervisor, work.uuid
    try:
        here = hypervisor.guest_at(None, uuid)
        held = here is not None and here.migrating == Migrating.LEAVING
        if not held or hypervisor.migration(uuid).active:
            return
        there, answered = _over_there(work)
        if answered and there is None:
            hypervisor.resume(uuid)
    except (HypervisorError, HypervisorUnavailable) as error:
        LOG.warning("The guest of server %s stays held: %s", uuid, error)
