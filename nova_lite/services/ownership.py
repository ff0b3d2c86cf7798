"""Whose server it is: this host's, another host's, or on its way between the two.

The only module that compares a server's host with this one (tests/unit/test_layout.py). Loops,
handlers, the survey at start and the engine ask it before they touch a guest or a record.

:func:`place` decides from records at hand. :class:`Ownership` fetches the records first, for those
whose own are old: an operation that was resumed, a message that waited while the host was down.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nova_lite.conductor.instances import Instances
from nova_lite.conductor.migrations import OPEN, Migrations
from nova_lite.model.states import REBUILDING_TASKS
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

EVACUATION = "evacuation"


class Place(enum.Enum):
    """Where a server is, as seen from this host.

    HERE: the record names this host, and no other host is taking the server. Everything may be
        done to it.
    ARRIVING: the server has no host, or is moving to this one. Only the operation that brings it
        here may make something of it, and the database decides who is first.
    LEAVING: this host is the source of a move that is not over. What is here of the server (its
        guest, or after a resize the old disks) stays until the move ends. As long as the record
        names this host, whatever nova-api lets through may be done; afterwards, only the
        operations of the move itself.
    ELSEWHERE: another host has it, or an evacuation is giving it to one. Nothing may be started or
        written on its behalf here; what is left of it here may be removed if an evacuation says so.
    """

    HERE = "here"
    ARRIVING = "arriving"
    LEAVING = "leaving"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Standing:
    """A server's place; ``host`` is the host that its record names, None without one."""

    place: Place
    host: str | None
    recorded_here: bool

    def permits(self, places: Collection[Place]) -> bool:
        """Whether an operation that is for servers in ``places`` may have an effect."""
        if self.place in places:
            return True
        return self.place is Place.LEAVING and self.recorded_here and Place.HERE in places


def standing(
    instance: Mapping[str, Any] | WireObject, host: str, migration: WireObject | None = None
) -> Standing:
    """Where a server is, by its records.

    :param instance: its ``host`` is read
    :param host: nova.conf's host of this agent
    :param migration: the server's open migration, if it has one
    """
    named = instance.get("host")
    recorded_here = named == host
    if migration is not None and migration.get("status") in OPEN:
        where = _moving(named, host, migration)
    elif named is None:
        where = Place.ARRIVING
    else:
        where = Place.HERE if recorded_here else Place.ELSEWHERE
    return Standing(where, named, recorded_here)


def _moving(named: str | None, host: str, migration: WireObject) -> Place:
    source, target = migration.get("source_compute"), migration.get("dest_compute")
    if source == host and target == host:
        return Place.HERE  # a resize on one host
    if source == host:
        # Evacuation is only possible while this host is down: it is not asked, and not waited for.
        evacuated = migration.get("migration_type") == EVACUATION
        return Place.ELSEWHERE if evacuated else Place.LEAVING
    if named == host:
        return Place.HERE  # moved here, and the source still keeps what it had
    return Place.ARRIVING if target == host or named is None else Place.ELSEWHERE


def place(instance: Mapping[str, Any] | WireObject, host: str) -> Place:
    """Where a server is, as far as its own record says."""
    return standing(instance, host).place


@dataclass(frozen=True)
class Found:
    """What the records say of a server now."""

    instance: WireObject
    standing: Standing


class Ownership:
    """Asks the conductor where servers are; safe to share between threads."""

    def __init__(self, host: str, instances: Instances, migrations: Migrations) -> None:
        """:param host: nova.conf's host of this agent"""
        self.host = host
        self._instances = instances
        self._migrations = migrations

    def place(self, instance: WireObject) -> Place:
        """Where a server is, as far as its own record says; asks nobody."""
        return place(instance, self.host)

    def find(self, context: RequestContext, uuid: str, *, moves: bool = False) -> Found:
        """Read a server's record, and where it is; its migration only where that matters.

        One conductor call (Instance.get_by_uuid). A second one (MigrationList.get_by_filters) where
        the record alone cannot tell: a server of this host that is being rebuilt may be in the
        middle of an evacuation.

        :param moves: ask for the migration of a server of another host, too: it may be arriving
            or leaving
        :raises ServerNotFound: there is no such server
        """
        instance = self._instances.get(context, uuid, ())
        found = standing(instance, self.host)
        if found.recorded_here:
            unclear = instance.get("task_state") in REBUILDING_TASKS
        else:
            unclear = moves
        if unclear:
            migration = self._migrations.open_of_server(context.elevated(), uuid)
            found = standing(instance, self.host, migration)
        return Found(instance, found)
