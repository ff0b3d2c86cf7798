"""The recordings in ``data``, for the tests: by release, and of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
NEWEST = "2026.2"  # whose recordings the others are compared with
OLDER = ("2025.1", "2025.2", "2026.1")
ALL = (*OLDER, NEWEST)

# Methods whose recordings the stand-ins for nova-conductor are held to.
HELD_TO = (
    "object_action.BlockDeviceMapping.save",
    "object_action.ConsoleAuthToken.authorize",
    "object_action.Instance.save",
    "object_action.InstanceFault.create",
    "object_action.InstanceInfoCache.save",
    "object_action.VirtualInterface.create",
    "object_class_action_versions.Instance.get_by_uuid",
    "object_class_action_versions.MigrationList.get_in_progress_and_error",
)

# Of the above, what nobody has said while a release was recorded.
NOT_HEARD: frozenset[tuple[str, str]] = frozenset()


def directory(release: str) -> Path:
    """Where the files of a release are; those of the newest one are whole, of others a choice."""
    return DATA if release == NEWEST else DATA / release


def paths(release: str) -> list[Path]:
    """Files of a release.

    :raises FileNotFoundError: it has none
    """
    found = sorted((directory(release) / "methods").glob("*.json"))
    if not found:
        raise FileNotFoundError(f"no recordings of {release} in {directory(release)}")
    return found


def files(release: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Method and exchanges of each file."""
    for path in paths(release):
        yield path.stem, json.loads(path.read_text())


def exchanges(release: str, method: str) -> list[dict[str, Any]]:
    """Those of a method; none where it was not kept."""
    path = directory(release) / "methods" / f"{method}.json"
    return json.loads(path.read_text()) if path.exists() else []


def held_to(*methods: str) -> list[Any]:
    """Exchanges of some methods in all releases, as parameters of a test.

    :raises ValueError: of a release there is none, and ``NOT_HEARD`` does not say so
    """
    found = []
    for release in ALL:
        for method in methods:
            kept = exchanges(release, method)
            if bool(kept) is ((release, method) in NOT_HEARD):
                raise ValueError(f"{method} of {release}: {len(kept)} recordings; see NOT_HEARD")
            found += [
                pytest.param(exchange, id=f"{release}-{method}-{number}")
                for number, exchange in enumerate(kept)
            ]
    return found


def manifest(release: str) -> dict[str, Any]:
    """What was heard of an older release, by method, and how it differs from the newest."""
    return json.loads((directory(release) / "manifest.json").read_text())["methods"]
