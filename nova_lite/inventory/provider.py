"""The resource provider of this host: wanted as data, compared with Placement, changed if needed.

What was read from Placement is believed for ``refresh_s`` seconds, so a host where nothing changes
makes no call at all; a change made by somebody else shows as a generation conflict and is read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite import errors
from nova_lite.clients.placement import (
    ATTEMPTS,
    DuplicateName,
    GenerationConflict,
    InventoryInUse,
    Placement,
    ProviderNotFound,
)
from nova_lite.inventory import traits as trait_names

LOG = logging.getLogger(__name__)

# Classes that are removed when they are no longer wanted; others belong to somebody else.
OWN_CLASSES = frozenset({"VCPU", "PCPU", "MEMORY_MB", "DISK_GB"})


@dataclass(frozen=True)
class Inventory:
    """What is offered of one resource class, in its own unit (CPUs, MiB, GiB).

    ``max_unit`` None means the total. ``ratio`` None means: keep the allocation ratio that
    Placement has, and start with ``initial_ratio``.
    """

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int | None = None
    step_size: int = 1
    ratio: float | None = None
    initial_ratio: float = 1.0

    def fields(self, present: Mapping[str, Any] | None) -> dict[str, Any]:
        """As Placement wants it; ``present`` is what it has now."""
        kept = present["allocation_ratio"] if present else self.initial_ratio
        return {
            "total": self.total,
            "reserved": min(self.reserved, self.total),
            "min_unit": self.min_unit,
            "max_unit": self.max_unit or self.total,
            "step_size": self.step_size,
            "allocation_ratio": self.ratio or kept,
        }


@dataclass(frozen=True)
class ProviderState:
    """What this host offers: resource class -> Inventory, and its traits."""

    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()


def host_state(
    conf: Any,
    *,
    vcpus: int,
    pcpus: int,
    memory_mb: int,
    disk_gb: int,
    traits: frozenset[str],
    image_cache_gb: int = 0,
) -> ProviderState:
    """What a host offers, with the ratios and reservations of nova.conf.

    :param conf: the options (group [DEFAULT] of ``conf/capacity.py``)
    :param vcpus: host CPUs for shared use
    :param pcpus: host CPUs for dedicated use
    :param memory_mb: all memory of the host, MiB
    :param disk_gb: size of the file system of instances_path, GiB
    :param image_cache_gb: how much of it is withheld for cached images
    """
    cpu, ram, disk = (
        {
            "ratio": getattr(conf, f"{name}_allocation_ratio") or None,
            "initial_ratio": getattr(conf, f"initial_{name}_allocation_ratio"),
        }
        for name in ("cpu", "ram", "disk")
    )
    reserved_disk_gb = -(-conf.reserved_host_disk_mb // 1024) + image_cache_gb
    inventories = {
        "VCPU": Inventory(vcpus, conf.reserved_host_cpus, **cpu),
        "PCPU": Inventory(pcpus, ratio=1.0),
        "MEMORY_MB": Inventory(memory_mb, conf.reserved_host_memory_mb, **ram),
        "DISK_GB": Inventory(disk_gb, reserved_disk_gb, **disk),
    }
    return ProviderState(inventories, traits | trait_names.ALWAYS)


@dataclass
class _Known:
    """What Placement has, as last read or written.

    ``at`` is the time of the read in monotonic seconds, None when it is known to be outdated.
    """

    generation: int
    inventories: dict[str, dict[str, Any]]
    traits: frozenset[str]
    at: float | None


class Provider:
    """The resource provider of this host; safe to share between threads.

    :param uuid: the host's compute_id
    :param name: the hypervisor's host name
    :param refresh_s: seconds for which what was read is believed, 0: until ``forget``
    :param is_member: whether the cloud has this host still; asked before the provider is made anew
    """

    def __init__(
        self,
        placement: Placement,
        uuid: str,
        name: str,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
        is_member: Callable[[], bool] = lambda: True,
    ) -> None:
        self._placement = placement
        self._is_member = is_member
        self._uuid = uuid
        self._name = name
        self._refresh_s = refresh_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._synced: ProviderState | None = None
        self._checked: dict[str, bool] = {}  # trait -> whether this Placement knows it
        self._extra_classes: set[str] = set()  # ours beside OWN_CLASSES
        self._disabled: bool | None = None  # None: as Placement has it
        self._reported = False  # whether a sync ever succeeded

    def sync(self, wanted: ProviderState) -> None:
        """Make Placement show ``wanted``, with as few calls as possible.

        :raises HostIdentityError: the name belongs to another provider, or ours has another name
        :raises ControlPlaneUnavailable, CredentialsInvalid, PlacementError: try again later
        """
        with self._lock:
            if self._synced == wanted and self._fresh():
                return
            self._synced = None
            self._retrying(lambda: self._apply(wanted))
            self._synced = wanted
            self._reported = True

    def set_disabled(self, disabled: bool) -> None:
        """Add or remove the trait that keeps the scheduler away; raises as ``sync``.

        Placement is read anew: the trait may have been changed by somebody in between. Before the
        first ``sync`` this is only remembered: ``sync`` does it.
        """
        with self._lock:
            self._disabled = disabled
            if self._reported:
                self._retrying(self._apply_disabled)

    def forget(self) -> None:
        """Believe nothing that was read before (SIGHUP)."""
        with self._lock:
            self._known = None
            self._synced = None
            self._checked.clear()

    # --- reading ------------------------------------------------------------------------------
    def _fresh(self) -> bool:
        if self._known is None or self._known.at is None:
            return False
        return not self._refresh_s or self._clock() - self._known.at < self._refresh_s

    def _retrying(self, work: Callable[[], None]) -> None:
        """Run ``work`` until nobody else changed the provider in between."""
        for _ in range(ATTEMPTS):
            try:
                return work()
            except GenerationConflict:  # each allocation by the scheduler counts as a change, too
                LOG.debug("Provider %s was changed by others, reading it again", self._name)
                if self._known is not None:
                    self._known.at = None
            except ProviderNotFound:
                LOG.warning("Provider %s is gone from Placement, making it again", self._name)
                self._known = None
            except errors.NovaLiteError:
                self._known = None  # whether the change was made is not known
                raise
        raise errors.PlacementError(
            f"provider {self._name} ({self._uuid}) was changed by others {ATTEMPTS} times while "
            "this host reported to it; is a second agent running with the same compute_id?"
        )

    def _read(self) -> _Known:
        """What Placement has; the provider is made when there is none."""
        if self._known is not None and self._fresh():
            return self._known
        if self._known is None:
            created = self._create_if_missing()
            if created is not None:
                self._known = _Known(int(created["generation"]), {}, frozenset(), self._clock())
                return self._known
        # The generation of the first answer: a change between the two shows as a conflict.
        generation, inventories = self._placement.inventories(self._uuid)
        _, traits = self._placement.traits(self._uuid)
        self._known = _Known(generation, inventories, traits, self._clock())
        return self._known

    def _create_if_missing(self) -> dict[str, Any] | None:
        """The provider if it was made just now, None when it was there."""
        found = self._placement.provider(self._uuid)
        if found is not None:
            self._refuse_other_name(found)
            return None
        if self._reported and not self._is_member():
            # It went with the host's service: an operator who removes a host wants it gone.
            raise errors.HostIdentityError(
                f"this host ({self._name}) was deleted from the cloud; stop this agent, or restart "
                "it to have the host join again"
            )
        try:
            created = self._placement.create_provider(self._uuid, self._name)
        except DuplicateName:
            other = self._placement.provider_by_name(self._name)
            raise errors.HostIdentityError(
                f"resource provider {self._name!r} exists with uuid "
                f"{other['uuid'] if other else 'unknown'}, but this host is {self._uuid}: put that "
                "uuid into the compute_id file, or, if no server is left on it, remove it with "
                "'openstack resource provider delete'"
            ) from None
        LOG.info("Created resource provider %s (%s)", self._name, self._uuid)
        return created

    def _refuse_other_name(self, found: Mapping[str, Any]) -> None:
        if found["name"] != self._name:
            raise errors.HostIdentityError(
                f"resource provider {self._uuid} is named {found['name']!r}, but the hypervisor "
                f"calls this host {self._name!r}: give the machine its old name back, or remove "
                "the compute_id file if it was copied from another host"
            )

    # --- changing -----------------------------------------------------------------------------
    def _apply(self, wanted: ProviderState) -> None:
        known = self._read()
        self._apply_inventories(known, wanted.inventories)
        self._apply_traits(known, wanted.traits)

    def _apply_inventories(self, known: _Known, wanted: Mapping[str, Inventory]) -> None:
        offered = {
            name: inventory.fields(known.inventories.get(name))
            for name, inventory in wanted.items()
            if inventory.total > 0
        }
        owned = OWN_CLASSES | self._extra_classes
        foreign = {
            name: fields
            for name, fields in known.inventories.items()
            if name not in offered and name not in owned
        }
        target = foreign | offered
        if target == known.inventories:
            return
        for name in offered.keys() - known.inventories.keys():
            if name.startswith("CUSTOM_"):
                self._placement.create_resource_class(name)
        self._extra_classes.update(offered)
        try:
            self._put_inventories(known, target)
        except InventoryInUse as exc:
            self._keep_used(known, target, exc)

    def _put_inventories(self, known: _Known, target: dict[str, dict[str, Any]]) -> None:
        known.generation = self._placement.put_inventories(self._uuid, known.generation, target)
        known.inventories = target
        LOG.info("Inventories of %s: %s", self._name, _summary(target))

    def _keep_used(
        self, known: _Known, target: dict[str, dict[str, Any]], exc: InventoryInUse
    ) -> None:
        """A class that servers still use stays, closed to new ones (all of it reserved)."""
        kept = {
            name: fields | {"reserved": fields["total"]}
            for name, fields in known.inventories.items()
            if name not in target
        }
        LOG.warning(
            "%s of %s cannot be removed while servers use it; it is closed to new ones until they "
            "are gone (%s)",
            ", ".join(sorted(kept)),
            self._name,
            exc.message,
        )
        if target | kept != known.inventories:
            self._put_inventories(known, target | kept)

    def _apply_traits(self, known: _Known, wanted: frozenset[str]) -> None:
        foreign = {name for name in known.traits if not trait_names.own(name)}
        usable = self._usable(wanted - known.traits) | (wanted & known.traits)
        disabled = trait_names.DISABLED in known.traits
        if self._disabled is not None:
            disabled = self._disabled
        target = (foreign | usable) - {trait_names.DISABLED}
        if disabled:
            target |= {trait_names.DISABLED}
        self._put_traits(known, frozenset(target))

    def _apply_disabled(self) -> None:
        generation, traits = self._placement.traits(self._uuid)
        known = self._known
        if known is None or generation != known.generation:
            # Somebody changed the provider, perhaps its inventories: the next sync reads it all.
            self._known = self._synced = None
            known = _Known(generation, {}, traits, self._clock())
        known.traits = traits
        own = frozenset({trait_names.DISABLED})
        self._put_traits(known, traits | own if self._disabled else traits - own)

    def _put_traits(self, known: _Known, target: frozenset[str]) -> None:
        if target == known.traits:
            return
        known.generation = self._placement.put_traits(self._uuid, known.generation, target)
        LOG.info(
            "Traits of %s: added %s, removed %s",
            self._name,
            sorted(target - known.traits) or "none",
            sorted(known.traits - target) or "none",
        )
        known.traits = target

    def _usable(self, names: frozenset[str]) -> set[str]:
        """Those of ``names`` that Placement accepts; CUSTOM_ ones are made known to it."""
        new = {name for name in names if name not in self._checked}
        if new:
            found = self._placement.known_traits(new)
            for name in new - found:
                if name.startswith("CUSTOM_"):
                    self._placement.create_trait(name)
                    found |= {name}
            self._checked.update({name: name in found for name in new})
            dropped = sorted(new - found)
            if dropped:
                LOG.warning(
                    "Placement does not know these traits, they are not reported (its os-traits "
                    "is older than this agent's): %s",
                    ", ".join(dropped),
                )
        return {name for name in names if self._checked[name]}


def _summary(inventories: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{name} {row['total']} (reserved {row['reserved']}, ratio {row['allocation_ratio']:g})"
        for name, row in sorted(inventories.items())
    )
