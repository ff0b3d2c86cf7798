"""A server that comes from a host that failed: what its records say of that."""

from __future__ import annotations

import logging

from nova_lite.errors import EvacuationSuperseded
from nova_lite.model.states import REBUILDING_TASKS
from nova_lite.services import moves
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


def migration(work: Work) -> WireObject | None:
    """The record of the evacuation; None where nova-conductor found none."""
    found = work.arguments.get("migration")
    return found if isinstance(found, WireObject) else None


def source(work: Work) -> str | None:
    """The host that had the server."""
    record = migration(work)
    named = record.get("source_compute") if record is not None else work.instance.get("host")
    return str(named) if named and named != work.tools.host else None


def reload(work: Work) -> None:
    """Read the record again; the availability zone is the message's, which is not saved yet.

    :raises ServerBeingDeleted: it is not wanted any more
    :raises EvacuationSuperseded: it is not this host that is to have it any more
    """
    zone = work.instance.get("availability_zone")
    moves.reload(work)
    if zone and work.instance.get("availability_zone") != zone:
        work.instance.set(availability_zone=zone)
    if not work.here and moves.is_late(work):
        _require_current(work)


def _require_current(work: Work) -> None:
    """See that nobody has ended this evacuation, or begun another one."""
    record = migration(work)
    if record is None or work.instance.get("task_state") not in REBUILDING_TASKS:
        current = record is None
    else:
        current = moves.is_current(work, record)
    if not current:
        raise EvacuationSuperseded(
            f"The evacuation of server {work.uuid} to host {work.tools.host} is over, or another "
            "one has begun; evacuate it again if its host is down"
        )
