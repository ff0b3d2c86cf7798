"""Placement: the provider of this host and the allocations of its servers, only the calls used.

Microversions are fixed per call, so that answers keep their shape: 1.20 (POST returns the
provider), 1.6 (traits), 1.7 (PUT of a class), 1.26 (reserved may equal total), 1.28 (consumer
generations), 1.36 (candidates with mappings and same_subtree). Every supported control plane has
them.
Reference: https://docs.openstack.org/api-ref/placement/
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from nova_lite import errors
from nova_lite.clients.rest import answering

LOG = logging.getLogger(__name__)

PROVIDERS = "1.20"
TRAITS = "1.6"
CLASSES = "1.7"
INVENTORIES = "1.26"
ALLOCATIONS = "1.28"
CANDIDATES = "1.36"

# Error codes are in the body of an answer only from 1.23 on: calls that need them use INVENTORIES.
CONFLICT_IN_USE = "placement.inventory.inuse"
CONFLICT_NAME = "placement.duplicate_name"

ATTEMPTS = 4  # of a read-change-write that meets somebody else's change
QUERY_CHARS = 2000  # of trait names in one query; web servers limit the request line


class ProviderNotFound(errors.PlacementError):
    """There is no resource provider with this uuid."""


class GenerationConflict(errors.PlacementError):
    """Somebody changed the provider or the consumer since it was read: read again."""


class InventoryInUse(errors.PlacementError):
    """A resource class cannot be removed: servers hold allocations of it."""


class DuplicateName(errors.PlacementError):
    """Another provider has this name."""


class Placement:
    """Calls to Placement with the agent's own credentials; safe to share between threads.

    :param api: a keystoneauth1 Adapter, as ``Sessions.service("placement", "placement")`` gives;
        it carries the timeout and the retries of failed connections

    Every method may raise ControlPlaneUnavailable (no answer, or 5xx), CredentialsInvalid (401,
    403) and PlacementError (anything else that is not named).
    """

    def __init__(self, api: Any) -> None:
        self._api = api

    # --- provider -----------------------------------------------------------------------------
    def provider(self, uuid: str) -> dict[str, Any] | None:
        """``{uuid, name, generation ...}``, None when there is none."""
        answer = self._call("GET", f"/resource_providers/{uuid}", PROVIDERS, missing_ok=True)
        return None if answer is None else dict(answer)

    def provider_by_name(self, name: str) -> dict[str, Any] | None:
        """The same by name, which is unique as well."""
        url = f"/resource_providers?name={quote(name, safe='')}"
        found = self._call("GET", url, PROVIDERS)["resource_providers"]
        return dict(found[0]) if found else None

    def create_provider(self, uuid: str, name: str) -> dict[str, Any]:
        """Make a root provider; raises DuplicateName when name or uuid are taken."""
        body = {"uuid": uuid, "name": name}
        return dict(self._call("POST", "/resource_providers", INVENTORIES, body))

    # --- inventories --------------------------------------------------------------------------
    def inventories(self, uuid: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """(generation, resource class -> fields); raises ProviderNotFound."""
        answer = self._call("GET", f"/resource_providers/{uuid}/inventories", INVENTORIES)
        return int(answer["resource_provider_generation"]), dict(answer["inventories"])

    def put_inventories(
        self, uuid: str, generation: int, inventories: Mapping[str, Mapping[str, Any]]
    ) -> int:
        """Replace all inventories and return the new generation.

        :param generation: as last read
        :raises GenerationConflict: it is outdated
        :raises InventoryInUse: a class left out has allocations; nothing was changed
        :raises ProviderNotFound:
        """
        body = {"resource_provider_generation": generation, "inventories": dict(inventories)}
        answer = self._call("PUT", f"/resource_providers/{uuid}/inventories", INVENTORIES, body)
        return int(answer["resource_provider_generation"])

    def create_resource_class(self, name: str) -> None:
        """Make a CUSTOM_ resource class known; one that is known already stays."""
        self._call("PUT", f"/resource_classes/{name}", CLASSES)

    # --- traits -------------------------------------------------------------------------------
    def traits(self, uuid: str) -> tuple[int, frozenset[str]]:
        """(generation, trait names) of a provider; raises ProviderNotFound."""
        answer = self._call("GET", f"/resource_providers/{uuid}/traits", TRAITS)
        return int(answer["resource_provider_generation"]), frozenset(answer["traits"])

    def put_traits(self, uuid: str, generation: int, traits: Iterable[str]) -> int:
        """Replace all traits and return the new generation; errors as of ``put_inventories``."""
        body = {"resource_provider_generation": generation, "traits": sorted(traits)}
        answer = self._call("PUT", f"/resource_providers/{uuid}/traits", TRAITS, body)
        return int(answer["resource_provider_generation"])

    def known_traits(self, names: Iterable[str]) -> frozenset[str]:
        """Those of ``names`` that this Placement knows; its os-traits may be older than ours."""
        known: set[str] = set()
        for part in _parts(sorted(names), QUERY_CHARS):
            known.update(self._call("GET", f"/traits?name=in:{','.join(part)}", TRAITS)["traits"])
        return frozenset(known)

    def create_trait(self, name: str) -> None:
        """Make a CUSTOM_ trait known; one that is known already stays."""
        self._call("PUT", f"/traits/{name}", TRAITS)

    # --- allocations --------------------------------------------------------------------------
    def allocations(self, consumer: str) -> dict[str, Any]:
        """What a server (or a migration) holds.

        Returns ``{allocations: {provider: {resources, generation}}, consumer_generation,
        project_id, user_id}``; ``allocations`` is empty and the rest missing when it holds nothing.
        """
        return dict(self._call("GET", f"/allocations/{consumer}", ALLOCATIONS))

    def put_allocations(
        self,
        consumer: str,
        allocations: Mapping[str, Mapping[str, Any]],
        *,
        project_id: str,
        user_id: str,
        consumer_generation: int | None,
    ) -> None:
        """Replace what a consumer holds.

        :param allocations: provider uuid -> ``{"resources": {class: amount}}``
        :param consumer_generation: as last read, None for a new consumer
        :raises GenerationConflict: it is outdated, or a provider was changed meanwhile
        """
        resources = {uuid: {"resources": row["resources"]} for uuid, row in allocations.items()}
        body = {
            "allocations": resources,
            "consumer_generation": consumer_generation,
            "project_id": project_id,
            "user_id": user_id,
        }
        self._call("PUT", f"/allocations/{consumer}", ALLOCATIONS, body)

    def delete_allocations(self, consumer: str) -> bool:
        """Give back everything a consumer holds; returns whether it held anything."""
        for _ in range(ATTEMPTS):
            try:
                url = f"/allocations/{consumer}"
                return self._call("DELETE", url, ALLOCATIONS, missing_ok=True) is not None
            except GenerationConflict:
                continue
        raise GenerationConflict(
            f"the allocations of {consumer} could not be removed: Placement met concurrent changes "
            f"{ATTEMPTS} times; 'openstack resource provider allocation delete {consumer}' does it"
        )

    def drop_provider(self, consumer: str, provider: str) -> None:
        """Give back what a consumer holds of a root provider and those below it; the rest stays.

        :raises GenerationConflict: somebody changes the allocations again and again
        """
        for attempt in range(1, ATTEMPTS + 1):
            held = self.allocations(consumer)
            others = held["allocations"].keys() - {provider}
            gone = {provider, *(self._tree(provider) if others else ())}
            rest = {uuid: row for uuid, row in held["allocations"].items() if uuid not in gone}
            if len(rest) == len(held["allocations"]):
                return
            try:
                self.put_allocations(
                    consumer,
                    rest,
                    project_id=held["project_id"],
                    user_id=held["user_id"],
                    consumer_generation=held["consumer_generation"],
                )
                return
            except GenerationConflict:
                if attempt == ATTEMPTS:
                    raise

    def _tree(self, root: str) -> list[str]:
        """A provider and those below it, such as the interfaces that Neutron's agents report."""
        found = self._call("GET", f"/resource_providers?in_tree={root}", PROVIDERS)
        return [str(row["uuid"]) for row in found["resource_providers"]]

    def candidates(self, query: str) -> list[dict[str, Any]]:
        """Sets of providers that could give what ``query`` (URL-encoded) asks for.

        Each has ``allocations`` as for ``put_allocations``, and ``mappings`` (suffix -> providers).
        """
        answer = self._call("GET", f"/allocation_candidates?{query}", CANDIDATES)
        return list(answer["allocation_requests"])

    def move_allocations(self, source: str, target: str) -> bool:
        """Let one consumer hold what another one holds; what it held before is given back.

        Both change in one request (``POST /allocations``), so that nobody can take it in between.

        :returns: whether there was anything to move; where not, both stay as they are, as after a
            move that was carried out before
        :raises GenerationConflict: somebody changes the allocations again and again
        """
        for _ in range(ATTEMPTS):
            held, old = self.allocations(source), self.allocations(target)
            if not held["allocations"]:
                return False
            owner = {"project_id": held["project_id"], "user_id": held["user_id"]}
            rows = held["allocations"].items()
            resources = {uuid: {"resources": row["resources"]} for uuid, row in rows}
            body = {
                source: {
                    "allocations": {},
                    "consumer_generation": held["consumer_generation"],
                    **owner,
                },
                target: {
                    "allocations": resources,
                    "consumer_generation": old.get("consumer_generation"),
                    **owner,
                },
            }
            try:
                self._call("POST", "/allocations", ALLOCATIONS, body)
                return True
            except GenerationConflict:
                continue
        raise GenerationConflict(
            f"the allocations of {source} could not be moved to {target}: Placement met concurrent "
            f"changes {ATTEMPTS} times"
        )

    def release_allocations(self, consumer: str) -> None:
        """Like ``delete_allocations``, unless somebody changes them at the same time.

        :raises GenerationConflict: somebody did; nothing was given back
        """
        held = self.allocations(consumer)
        if held["allocations"]:
            self.put_allocations(
                consumer,
                {},
                project_id=held["project_id"],
                user_id=held["user_id"],
                consumer_generation=held["consumer_generation"],
            )

    # --- transport ----------------------------------------------------------------------------
    def _call(
        self, method: str, url: str, microversion: str, body: Any = None, missing_ok: bool = False
    ) -> Any:
        """The decoded answer ({} when it has no body), None for a 404 that is ``missing_ok``."""
        arguments: dict[str, Any] = {"raise_exc": False, "microversion": microversion}
        if body is not None:
            arguments["json"] = body
        call = f"{method} {url.partition('?')[0]}"
        with answering(
            "Placement",
            call,
            errors.ControlPlaneUnavailable,
            group="placement",
            misconfigured=errors.PlacementError,
        ):
            answer = self._api.request(url, method, **arguments)
        if answer.status_code < 300:
            return answer.json() if answer.content else {}
        if answer.status_code == 404 and missing_ok:
            return None
        raise _failure(call, answer)


def _failure(call: str, answer: Any) -> errors.NovaLiteError:
    """The error of an answer that is not a success."""
    status = answer.status_code
    code, detail = _explanation(answer)
    if status in (401, 403):
        return errors.CredentialsInvalid(
            f"Placement refuses {call} ({status}): the user of [placement] needs the role "
            "'service' (or 'admin') in its project"
        )
    if status >= 500:
        return errors.ControlPlaneUnavailable(f"Placement fails with {status} on {call}: {detail}")
    text = f"Placement answers {status} to {call}: {detail}"
    if status == 404:
        return ProviderNotFound(text)
    if status == 409:
        kinds = {CONFLICT_IN_USE: InventoryInUse, CONFLICT_NAME: DuplicateName}
        return kinds.get(code, GenerationConflict)(text)
    return errors.PlacementError(text)


def _explanation(answer: Any) -> tuple[str, str]:
    """(error code or "", one line of what the answer says)."""
    try:
        first = answer.json()["errors"][0]
        return first.get("code", ""), " ".join(str(first.get("detail", "")).split())
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", "no explanation"


def _parts(names: list[str], limit: int) -> list[list[str]]:
    """``names`` in groups of at most ``limit`` characters, commas counted."""
    groups: list[list[str]] = []
    size = 0
    for name in names:
        if not groups or size + len(name) + 1 > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += len(name) + 1
    return groups
