"""A guest that goes to another host while it runs: what is asked for, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nova_lite.model.domain import CpuTune, DiskSpec, NicSpec
from nova_lite.model.states import PowerState


@dataclass(frozen=True)
class GuestChanges:
    """What differs for a guest on its new host; all that is None or not named stays as it is.

    ``listen`` maps a kind of graphics (vnc, spice) to the new host's address; ``serial`` is the
    address of its serial ports and their ports in order. ``nics`` has a card as the new host plugs
    it by its MAC address, ``volumes`` a disk by the id of its volume: where and how it is opened
    there; what the guest sees of either stays. ``monitors`` are (address, port) of Ceph for its
    disks in RBD that are no volumes. ``cpuset`` are the host CPUs of a guest that is not pinned,
    empty for all; ``pins`` its new places if it is pinned (pins, emulator_pin, realtime), and
    ``memory_nodes`` maps its NUMA nodes to the host's. ``drop_cpu_shares``: the weight of its CPUs
    is not its flavor's wish.
    """

    listen: Mapping[str, str] = field(default_factory=dict)
    serial: tuple[str, tuple[int, ...]] | None = None
    nics: Mapping[str, NicSpec] = field(default_factory=dict)
    volumes: Mapping[str, DiskSpec] = field(default_factory=dict)
    monitors: tuple[tuple[str, str | None], ...] | None = None
    cpuset: frozenset[int] | None = None
    pins: CpuTune | None = None
    memory_nodes: Mapping[int, frozenset[int]] = field(default_factory=dict)
    perf_events: tuple[str, ...] | None = None
    file_backed_memory: bool | None = None
    drop_cpu_shares: bool = False


@dataclass(frozen=True)
class LiveMigration:
    """What a hypervisor needs to know to send a running guest to another one.

    ``target_uri`` is the other hypervisor, as this one's daemon reaches it; ``migrate_uri``
    (tcp://ADDRESS) is where the memory goes, None for the name that the other daemon has for its
    host. ``definition`` is the guest on the other host (Hypervisor.live_definition), ``persistent``
    what it is at its next start there, None for the same. ``disks`` are the targets
    (vda) to copy; all others are shared. ``bandwidth_mib_s`` is MiB/s for memory and as much for
    disks, 0 for no limit. ``connections`` above 1 send memory in parallel. ``listen`` is the
    address at which the other host waits for memory and disks, None for all.
    """

    target_uri: str
    definition: str = field(repr=False)  # may hold the password of a console
    migrate_uri: str | None = None
    persistent: str | None = field(default=None, repr=False)
    disks: tuple[str, ...] = ()
    bandwidth_mib_s: int = 0
    post_copy: bool = False
    auto_converge: bool = False
    tls: bool = False
    connections: int = 1
    listen: str | None = None


class MigrationPhase(StrEnum):
    """NONE: nothing is under way, and nothing is known of one that has ended.

    ``POST_COPY``: the guest runs on the other host and fetches its memory: no way back.
    """

    NONE = "none"
    RUNNING = "running"
    POST_COPY = "post-copy"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class MigrationProgress:
    """How far a migration is; sizes and rates in bytes (per second).

    ``iteration`` counts the passes over the memory, ``dirty_bytes_s`` is what the guest writes,
    ``downtime_ms`` what its stop took or is expected to take. Of one that has ended ``error`` says
    why it failed. What is not known is 0.

    ``held``: the guest was stopped here for the last of its memory (or post-copy). If such a
    migration failed, the other host may have let the guest go on all the same, as when only its
    answer got lost (seen with libvirt 9.0: both run then). Only ``guest_at`` of that host tells; as
    long as it does not answer, a guest that goes on here may be the second copy.
    """

    phase: MigrationPhase
    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0
    elapsed_s: float = 0.0
    downtime_ms: int = 0
    iteration: int = 0
    dirty_bytes_s: int = 0
    bandwidth_bytes_s: int = 0
    auto_converge_percent: int = 0
    error: str = ""
    held: bool = False

    @property
    def active(self) -> bool:
        """Whether it is under way."""
        return self.phase in (MigrationPhase.RUNNING, MigrationPhase.POST_COPY)

    @property
    def over(self) -> bool:
        """Whether it has ended, and how is known."""
        return self.phase != MigrationPhase.NONE and not self.active


class Migrating(StrEnum):
    """What a migration makes of a guest on one of the two hosts.

    ``NO``: nothing, it is simply there (off, running, or held for another reason). ``ARRIVING``: it
    is here only in part and must not be let go by hand. ``LEAVING``: it is held for the last bit
    of its memory to go. ``UNDECIDED``: it is held by a migration that nobody finishes any more, as
    when the old host's daemon died then: it belongs where the other one has not got it.
    ``POST_COPY``: it runs on the new host while memory still comes from the old one. ``BROKEN``:
    post-copy failed; parts of its memory are on either host. ``migrate`` goes on with it, else it
    can only boot anew.
    """

    NO = "no"
    ARRIVING = "arriving"
    LEAVING = "leaving"
    UNDECIDED = "undecided"
    POST_COPY = "post-copy"
    BROKEN = "broken"


@dataclass(frozen=True)
class GuestAt:
    """A guest on one of the hosts that a migration is about."""

    power_state: PowerState
    migrating: Migrating = Migrating.NO

    @property
    def settled(self) -> bool:
        """Whether it runs here, or is held here by somebody's wish: with all that it needs."""
        return self.migrating == Migrating.NO and self.power_state in (
            PowerState.RUNNING,
            PowerState.PAUSED,
            PowerState.SUSPENDED,
        )

    @property
    def goes_on(self) -> bool:
        """Whether it goes on here, with all of its memory or fetching the rest."""
        return self.settled or self.migrating == Migrating.POST_COPY
