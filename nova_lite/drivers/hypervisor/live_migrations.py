"""The part of the hypervisor contract that sends running guests to other hosts.

A migration is the hypervisor's own: it goes on when the agent dies, and whoever asks again,
also in another process, finds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from nova_lite.model.live_migration import (
    GuestAt,
    GuestChanges,
    LiveMigration,
    MigrationProgress,
)

NOTHING = GuestChanges()


class LiveMigrations(ABC):
    """See ``drivers/hypervisor/base.py`` for what holds of every method."""

    @abstractmethod
    def migrate(self, uuid: str, migration: LiveMigration) -> None:
        """Begin to send a guest that runs, or is paused, to another host; returns at once.

        Does nothing while the guest is being sent. How it goes on tells ``migration``, also when it
        fails at the start. When it has gone, this host does not know the guest any more.

        :raises GuestNotRunning: the guest is off
        """

    @abstractmethod
    def migration(self, uuid: str) -> MigrationProgress:
        """How far the guest's migration from here is, or how the last one that this process has
        begun or watched has ended.

        NONE where nothing is known, as of a guest that has left while nobody looked: ``guest_at``
        of both hosts tells then. Needs no guest.
        """

    @abstractmethod
    def set_migration_downtime(self, uuid: str, milliseconds: int) -> None:
        """How long the guest may stand still at the end; does nothing when it is not being sent."""

    @abstractmethod
    def abort_migration(self, uuid: str) -> None:
        """Give the migration up: the guest goes on here. Returns at once; ``migration`` says when.

        Does nothing when there is none. Raises HypervisorError in post-copy, which has no way back.
        """

    @abstractmethod
    def begin_post_copy(self, uuid: str) -> None:
        """Let the guest go on over there at once; its memory follows.

        Does nothing where that is so already, or no migration is under way. Raises HypervisorError
        where the migration did not begin with ``post_copy``, or has not sent the memory once.
        """

    def expect_guest(self, uuid: str, cpus: frozenset[int]) -> None:
        """Keep those dedicated host CPUs powered up for a guest that is on its way here, as it will
        be pinned to them; an empty set when it has come, or does not.

        Known to this process only. Where [libvirt]cpu_power_management is off, or the driver has
        none, this is nothing. Raises HypervisorError when a CPU does not come up.
        """
        return None

    @abstractmethod
    def guest_at(self, uri: str | None, uuid: str) -> GuestAt | None:
        """The guest at the hypervisor with that URI; None when it is not known there.

        :param uri: None for this one
        :raises HypervisorUnavailable: that one does not answer; nothing is known then
        """

    @abstractmethod
    def forget_nvram(self, uuid: str, name: str) -> None:
        """Remove what the firmware of a guest remembered that is not here any more, as one that has
        left this host while it ran; does nothing as long as the guest is known.

        :param name: of its DomainSpec
        """

    @abstractmethod
    def announce(self, uuid: str) -> None:
        """Let the guest's network cards announce themselves (RARP), so that switches learn where
        they are; returns at once.

        A guest that has come does so by itself when it goes on. Raises GuestNotRunning.
        """

    @abstractmethod
    def dirty_rate(self, uuid: str, seconds: int) -> int:
        """Bytes per second that a running guest writes to its memory, measured as long as that.

        A page that it writes often counts once. Raises GuestNotRunning, and HypervisorError where
        this cannot be measured.

        :param seconds: 1 to 60
        """

    @abstractmethod
    def live_definition(self, uuid: str, changes: GuestChanges = NOTHING) -> str:
        """The guest as it runs, with all that another host must give it the same way, and what is
        different there; what this agent knows nothing of stays in it.

        :raises GuestNotRunning: the guest is off
        :raises HypervisorError: the guest has not what changes, such as a card that is named
        """

    @abstractmethod
    def compare_cpu(self, cpu: Mapping[str, Any]) -> None:
        """See whether this host can give a guest all that a CPU can do.

        :param cpu: ``arch``, ``model``, ``vendor``, ``topology`` and ``features``, as in
            ComputeNode.cpu_info; what is missing is not compared
        :raises CpuIncompatible: it cannot, or does not know such a CPU; it says what is missing, if
            the hypervisor does
        """
