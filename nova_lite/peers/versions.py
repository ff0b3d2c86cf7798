"""Versions of the compute RPC API, 6.x: what a pin and a service version allow."""

from __future__ import annotations

import re

from nova_lite.errors import InvalidConfiguration
from nova_lite.wire.compute_api import NEWEST

Version = tuple[int, int]

OLDEST: Version = (6, 0)
# The version from which there is a second topic, compute-alt.
SECOND_TOPIC: Version = (6, 5)

# Service version from which on -> compute RPC version (SERVICE_VERSION_HISTORY of
# nova/objects/service.py). 2025.1 reports 68, 2025.2 70, 2026.1 72 and 2026.2 74.
SERVICES: tuple[tuple[int, Version], ...] = (
    (71, (6, 5)), (68, (6, 4)), (67, (6, 3)), (66, (6, 2)), (64, (6, 1)), (56, (6, 0)),
)  # fmt: skip

# Release -> compute RPC version (VERSION_ALIASES of nova/compute/rpcapi.py).
RELEASES: dict[str, Version] = {
    "wallaby": (6, 0), "xena": (6, 0), "yoga": (6, 0), "zed": (6, 1), "antelope": (6, 2),
    "bobcat": (6, 2), "caracal": (6, 3), "dalmatian": (6, 3), "epoxy": (6, 4), "flamingo": (6, 4),
    "gazpacho": (6, 5), "hibiscus": (6, 5),
}  # fmt: skip


def parse(text: str) -> Version:
    """``6.4`` as numbers."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def shown(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def pinned(value: str | None) -> Version:
    """The highest version that [upgrade_levels]compute allows.

    ``auto`` is the lowest version of all hosts in stock. Here it is as good as no value: each host
    is spoken to in what its own service version allows.

    :raises InvalidConfiguration: neither a version 6.x nor a release with one nor ``auto``
    """
    if value is None or value == "auto":
        return NEWEST
    if value in RELEASES:
        return RELEASES[value]
    if re.fullmatch(r"6\.\d+", value):
        return min(parse(value), NEWEST)
    raise InvalidConfiguration(
        f"[upgrade_levels]compute is {value!r}; nova_lite speaks compute RPC 6.x: use a version "
        f"from {shown(OLDEST)} to {shown(NEWEST)}, auto, or one of {', '.join(RELEASES)}"
    )


def of_service(version: int) -> Version | None:
    """What a host that reports this service version understands; None: nothing of 6.x."""
    return next((rpc for first, rpc in SERVICES if version >= first), None)
