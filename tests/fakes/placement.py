"""A Placement in memory that answers like the real one, in place of a keystoneauth Adapter."""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class FakeAnswer:
    def __init__(self, status: int, body: Any = None) -> None:
        self.status_code = status
        self.content = b"" if body is None else json.dumps(body).encode()

    def json(self) -> Any:
        return json.loads(self.content)


def problem(status: int, code: str = "placement.undefined_code", detail: str = "") -> FakeAnswer:
    return FakeAnswer(status, {"errors": [{"status": status, "code": code, "detail": detail}]})


def _amounts(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in (part.split(":") for part in text.split(","))}


class FakePlacementApi:
    """``calls`` lists "METHOD /path" in order; ``fail`` answers the next calls."""

    def __init__(self, known_traits: set[str] | None = None) -> None:
        self.calls: list[str] = []
        self.providers: dict[str, dict[str, Any]] = {}
        self.known: set[str] = known_traits or set()
        self.classes: set[str] = {"VCPU", "PCPU", "MEMORY_MB", "DISK_GB"}
        self.consumers: dict[str, dict[str, Any]] = {}
        self.consumer_generations: dict[str, int] = {}
        self.fail: list[FakeAnswer | Exception] = []
        self.microversions: list[str] = []

    def add(self, uuid: str, name: str) -> dict[str, Any]:
        self.providers[uuid] = {"name": name, "generation": 0, "inventories": {}, "traits": set()}
        return self.providers[uuid]

    def use(self, consumer: str, uuid: str, **resources: int) -> None:
        """The scheduler gives resources to a server: the provider's generation grows."""
        self.consumers[consumer] = {uuid: resources}
        self.providers[uuid]["generation"] += 1

    def request(self, url: str, method: str, **arguments: Any) -> FakeAnswer:
        assert arguments["raise_exc"] is False
        self.microversions.append(arguments["microversion"])
        parts = urlsplit(url)
        self.calls.append(f"{method} {parts.path}")
        if self.fail:
            answer = self.fail.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        path = parts.path.strip("/").split("/")
        handler = getattr(self, f"_{method.lower()}_{'_'.join([path[0], *path[2:]])}")
        return handler(path[1:], parse_qs(parts.query), arguments.get("json"))

    # --- providers ----------------------------------------------------------------------------
    def _get_resource_providers(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        if path:
            row = self.providers.get(path[0])
            return FakeAnswer(200, self._view(path[0])) if row else problem(404)
        if root := query.get("in_tree"):
            found = self._tree(root[0])
        else:
            name = unquote(query["name"][0])
            found = [u for u, row in self.providers.items() if row["name"] == name]
        return FakeAnswer(200, {"resource_providers": [self._view(uuid) for uuid in found]})

    def _tree(self, root: str) -> list[str]:
        return [u for u, row in self.providers.items() if root in (u, row.get("root"))]

    def below(self, root: str, uuid: str, *traits: str, **inventory: int) -> None:
        """A provider that somebody reports below another one."""
        self.add(uuid, uuid)
        inventories = {name: {"total": total} for name, total in inventory.items()}
        self.providers[uuid].update(root=root, traits=set(traits), inventories=inventories)

    def _view(self, uuid: str) -> dict[str, Any]:
        row = self.providers[uuid]
        return {"uuid": uuid, "name": row["name"], "generation": row["generation"]}

    def _post_resource_providers(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        taken = any(row["name"] == body["name"] for row in self.providers.values())
        if taken or body["uuid"] in self.providers:
            return problem(409, "placement.duplicate_name", "Conflicting resource provider name")
        self.add(body["uuid"], body["name"])
        return FakeAnswer(200, self._view(body["uuid"]))

    def _changing(self, uuid: str, body: Any) -> FakeAnswer | None:
        row = self.providers.get(uuid)
        if row is None:
            return problem(404)
        if body["resource_provider_generation"] != row["generation"]:
            return problem(409, "placement.concurrent_update", "generation conflict")
        return None

    def _get_resource_providers_inventories(self, path: Any, query: Any, body: Any) -> FakeAnswer:
        row = self.providers.get(path[0])
        if row is None:
            return problem(404)
        return FakeAnswer(
            200,
            {
                "resource_provider_generation": row["generation"],
                "inventories": row["inventories"],
            },
        )

    def _put_resource_providers_inventories(self, path: Any, query: Any, body: Any) -> FakeAnswer:
        if (refused := self._changing(path[0], body)) is not None:
            return refused
        wanted = body["inventories"]
        if set(wanted) - self.classes:
            return problem(400, detail="Unknown resource class")
        if any(fields["reserved"] > fields["total"] for fields in wanted.values()):
            return problem(400, detail="reserved exceeds total")
        row = self.providers[path[0]]
        held = {c for uses in self.consumers.values() for c in uses.get(path[0], {})}
        if (held & set(row["inventories"])) - set(wanted):
            return problem(409, "placement.inventory.inuse", "Inventory in use")
        row["inventories"] = json.loads(json.dumps(wanted))
        row["generation"] += 1
        return self._get_resource_providers_inventories(path, query, None)

    def _get_resource_providers_traits(self, path: Any, query: Any, body: Any) -> FakeAnswer:
        row = self.providers.get(path[0])
        if row is None:
            return problem(404)
        return FakeAnswer(
            200,
            {
                "resource_provider_generation": row["generation"],
                "traits": sorted(row["traits"]),
            },
        )

    def _put_resource_providers_traits(self, path: Any, query: Any, body: Any) -> FakeAnswer:
        if (refused := self._changing(path[0], body)) is not None:
            return refused
        if set(body["traits"]) - self.known:
            return problem(400, detail="No such trait")
        row = self.providers[path[0]]
        row["traits"] = set(body["traits"])
        row["generation"] += 1
        return self._get_resource_providers_traits(path, query, None)

    def _get_resource_providers_allocations(self, path: Any, query: Any, body: Any) -> FakeAnswer:
        rows = {
            consumer: {"resources": uses[path[0]]}
            for consumer, uses in self.consumers.items()
            if path[0] in uses
        }
        return FakeAnswer(200, {"allocations": rows, "resource_provider_generation": 0})

    # --- traits and classes -------------------------------------------------------------------
    def _get_traits(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        names = query["name"][0].removeprefix("in:").split(",")
        return FakeAnswer(200, {"traits": sorted(self.known & set(names))})

    def _put_traits(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        self.known.add(path[0])
        return FakeAnswer(201)

    def _put_resource_classes(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        self.classes.add(path[0])
        return FakeAnswer(201)

    # --- allocations --------------------------------------------------------------------------
    def _get_allocations(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        uses = self.consumers.get(path[0], {})
        rows = {uuid: {"resources": row, "generation": 1} for uuid, row in uses.items()}
        generation = self.consumer_generations.get(path[0], 1)
        whose = {"project_id": "p1", "user_id": "u1", "consumer_generation": generation}
        whose = whose if rows else {}
        return FakeAnswer(200, {"allocations": rows, **whose})

    def _put_allocations(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        # A consumer that holds nothing is none.
        known = None
        if self.consumers.get(path[0]):
            known = self.consumer_generations.get(path[0], 1)
        if body["consumer_generation"] != known:
            return problem(409, "placement.concurrent_update", "consumer generation conflict")
        wanted = {u: row["resources"] for u, row in body["allocations"].items()}
        others = {c: uses for c, uses in self.consumers.items() if c != path[0]}
        for uuid, row in wanted.items():
            for name, amount in row.items():
                total = self.providers.get(uuid, {}).get("inventories", {}).get(name)
                used = sum(uses.get(uuid, {}).get(name, 0) for uses in others.values())
                if total is not None and used + amount > total["total"]:
                    return problem(409, detail="capacity exceeded")
        self.consumers[path[0]] = wanted
        self.consumer_generations[path[0]] = (known or 0) + 1
        return FakeAnswer(204)

    def _get_allocation_candidates(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        """One provider for each group that begins with "resources"."""
        suffixes = [name.removeprefix("resources") for name in query if "resources" in name]
        choices = [self._able(suffix, query) for suffix in suffixes]
        found = []
        for chosen in itertools.product(*choices):
            rows: dict[str, Any] = {}
            for suffix, uuid in zip(suffixes, chosen, strict=True):
                mine = rows.setdefault(uuid, {"resources": {}})["resources"]
                mine.update(_amounts(query[f"resources{suffix}"][0]))
            mappings = {suffix: [uuid] for suffix, uuid in zip(suffixes, chosen, strict=True)}
            found.append({"allocations": rows, "mappings": mappings})
        return FakeAnswer(200, {"allocation_requests": found, "provider_summaries": {}})

    def _able(self, suffix: str, query: Any) -> list[str]:
        traits = set(query.get(f"required{suffix}", [""])[0].split(",")) - {""}
        able = []
        for uuid in self._tree(query[f"in_tree{suffix}"][0]):
            row = self.providers[uuid]
            left = {
                name: inventory["total"]
                - sum(uses.get(uuid, {}).get(name, 0) for uses in self.consumers.values())
                for name, inventory in row["inventories"].items()
            }
            wanted = _amounts(query[f"resources{suffix}"][0])
            if traits <= row["traits"] and all(left.get(n, 0) >= c for n, c in wanted.items()):
                able.append(uuid)
        return able

    def _post_allocations(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        for consumer, wanted in body.items():
            known = self._get_allocations([consumer], query, None).json()
            if wanted["consumer_generation"] != known.get("consumer_generation"):
                return problem(409, "placement.concurrent_update", "consumer generation conflict")
        for consumer, wanted in body.items():
            self.consumers.pop(consumer, None)
            rows = wanted["allocations"].items()
            if rows:
                self.consumers[consumer] = {uuid: row["resources"] for uuid, row in rows}
        return FakeAnswer(204)

    def _delete_allocations(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        return FakeAnswer(204) if self.consumers.pop(path[0], None) else problem(404)
