"""Further inventories and traits of this host, from the YAML files of provider_config_location.

The format is nova's provider.yaml, schema 1: https://docs.openstack.org/nova/latest/admin/
managing-resource-providers.html. Supported is this host's own provider; entries for its children
are skipped with a warning, since this agent makes none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.inventory.provider import OWN_CLASSES, Inventory, ProviderState
from nova_lite.inventory.traits import own

LOG = logging.getLogger(__name__)

THIS_NODE = "$COMPUTE_NODE"
_FIELDS = {"total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio"}


def load(location: str | Path, uuid: str, name: str) -> ProviderState:
    """What the files add to this host; nothing when there is no directory or no file.

    :param location: [compute]provider_config_location
    :param uuid: this host's compute_id; an entry may name the host by it
    :param name: the hypervisor's host name; the same
    :raises InvalidConfiguration: a file cannot be read or says something that cannot be; the
        message names it
    """
    inventories: dict[str, Inventory] = {}
    traits: set[str] = set()
    for path in sorted(Path(location).glob("*.yaml")):
        for entry in _entries(path):
            who = entry.get("identification") or {}
            if who.get("uuid") not in (THIS_NODE, uuid) and who.get("name") != name:
                LOG.warning("%s: provider %s is not this host, skipped", path, who)
                continue
            traits.update(_traits(path, entry))
            for resource, row in _inventories(path, entry):
                if resource in inventories:
                    raise InvalidConfiguration(f"{path}: {resource} is given twice")
                inventories[resource] = _inventory(path, resource, row)
    return ProviderState(inventories, frozenset(traits))


def combine(state: ProviderState, extra: ProviderState) -> ProviderState:
    """Both together."""
    return ProviderState({**state.inventories, **extra.inventories}, state.traits | extra.traits)


def _entries(path: Path) -> list[Mapping[str, Any]]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise InvalidConfiguration(f"{path} cannot be read as YAML: {exc}") from exc
    try:
        major = str(content["meta"]["schema_version"]).partition(".")[0]
        providers = list(content["providers"])
        if not all(isinstance(entry, Mapping) for entry in providers):
            raise TypeError
    except (KeyError, TypeError):
        raise InvalidConfiguration(
            f"{path}: 'meta: {{schema_version: ...}}' and a list 'providers' are needed"
        ) from None
    if major != "1":
        raise InvalidConfiguration(f"{path}: schema_version {major} is not known, only 1.x")
    return providers


def _additional(path: Path, entry: Mapping[str, Any], key: str) -> list[Any]:
    section = entry.get(key) or {}
    items = section.get("additional") if isinstance(section, Mapping) else None
    if section and not isinstance(items, list):
        raise InvalidConfiguration(f"{path}: {key} needs a list 'additional'")
    return list(items or ())


def _traits(path: Path, entry: Mapping[str, Any]) -> list[str]:
    names = [str(name) for name in _additional(path, entry, "traits")]
    for name in names:
        if own(name):
            raise InvalidConfiguration(f"{path}: {name} is decided by the agent, remove it")
    return names


def _inventories(path: Path, entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in _additional(path, entry, "inventories"):
        if not isinstance(item, Mapping):
            raise InvalidConfiguration(f"{path}: an inventory is 'CUSTOM_NAME: {{total: N}}'")
        for resource, row in item.items():
            if not isinstance(row, Mapping) or resource in OWN_CLASSES:
                raise InvalidConfiguration(
                    f"{path}: {resource} is decided by the agent, or has no fields"
                )
            yield str(resource), row


def _inventory(path: Path, resource: str, row: Mapping[str, Any]) -> Inventory:
    unknown = set(row) - _FIELDS
    if unknown or "total" not in row:
        raise InvalidConfiguration(
            f"{path}: {resource} needs 'total' and knows {', '.join(sorted(_FIELDS))}"
        )
    try:
        whole = {key: int(value) for key, value in row.items() if key != "allocation_ratio"}
        return Inventory(**whole, ratio=float(row.get("allocation_ratio", 1.0)))
    except (TypeError, ValueError) as exc:
        raise InvalidConfiguration(f"{path}: {resource}: {exc}") from exc
