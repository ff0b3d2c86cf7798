"""Sockets, cores and threads of a guest, within what flavor and image allow."""

from __future__ import annotations

from dataclasses import dataclass

from nova_lite.errors import InvalidGuestConfig
from nova_lite.guest.properties import Properties

UNLIMITED = 65536
PARTS = ("sockets", "cores", "threads")


@dataclass(frozen=True)
class Topology:
    sockets: int
    cores: int
    threads: int

    def __str__(self) -> str:
        return f"{self.sockets}:{self.cores}:{self.threads}"


def plan_topology(properties: Properties, vcpus: int) -> Topology:
    """The possible topology that is nearest to the preferred one.

    Among equally near ones it has as few threads and as many sockets as possible. Preferences are
    ``hw:cpu_sockets`` and so on; limits ``hw:cpu_max_sockets`` and so on, which an image may only
    lower.

    :raises InvalidGuestConfig: limits and preferences contradict each other or the vCPU count
    """
    limits = _limits(properties)
    wish = _wish(properties, limits)
    possible = [
        Topology(sockets, cores, vcpus // (sockets * cores))
        for sockets in range(1, min(vcpus, limits.sockets) + 1)
        if vcpus % sockets == 0
        for cores in range(1, min(vcpus // sockets, limits.cores) + 1)
        if vcpus // sockets % cores == 0 and vcpus // (sockets * cores) <= limits.threads
    ]
    if not possible:
        raise InvalidGuestConfig(
            f"{vcpus} vCPUs do not fit the limits sockets:cores:threads = {limits}; "
            f"raise hw:cpu_max_* or hw_cpu_max_*"
        )
    return max(possible, key=lambda t: (_score(t, wish), t.sockets * t.cores, t.sockets))


def _score(topology: Topology, wish: Topology) -> int:
    return sum(
        1
        for part in PARTS
        if getattr(wish, part) and getattr(wish, part) == getattr(topology, part)
    )


def _read(properties: Properties, infix: str) -> tuple[Topology, Topology]:
    """Flavor's and image's values; 0 where there is none."""
    flavor = Topology(*(properties.spec(f"hw:cpu_{infix}{part}") or 0 for part in PARTS))
    image = Topology(*(properties.image(f"hw_cpu_{infix}{part}") or 0 for part in PARTS))
    return flavor, image


def _exceeds(one: Topology, limits: Topology) -> bool:
    return any(
        getattr(limits, part) and getattr(one, part) > getattr(limits, part) for part in PARTS
    )


def _limits(properties: Properties) -> Topology:
    flavor, image = _read(properties, "max_")
    if _exceeds(image, flavor):
        raise InvalidGuestConfig(
            f"image properties hw_cpu_max_* ask for sockets:cores:threads = {image}, more than the "
            f"flavor's hw:cpu_max_* = {flavor}; an image may only lower these limits"
        )
    return Topology(*(getattr(image, part) or getattr(flavor, part) or UNLIMITED for part in PARTS))


def _wish(properties: Properties, limits: Topology) -> Topology:
    flavor, image = _read(properties, "")
    if _exceeds(image, limits):
        raise InvalidGuestConfig(
            f"image properties hw_cpu_sockets/cores/threads = {image} exceed the limits {limits}"
        )
    if image != Topology(0, 0, 0):
        return image
    # A flavor's preference gives way silently when the image lowered the limits below it.
    return Topology(0, 0, 0) if _exceeds(flavor, limits) else flavor
