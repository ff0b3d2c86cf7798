"""A Placement in memory that answers like the real one, in place of a keystoneauth Adapter."""

from __future__ import annotations

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


class FakePlacementApi:
    """``calls`` lists "METHOD /path" in order; ``fail`` answers the next calls."""

    def __init__(self, known_traits: set[str] | None = None) -> None:
        self.calls: list[str] = []
        self.providers: dict[str, dict[str, Any]] = {}
        self.known: set[str] = known_traits or set()
        self.classes: set[str] = {"VCPU", "PCPU", "MEMORY_MB", "DISK_GB"}
        self.consumers: dict[str, dict[str, Any]] = {}
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
        found = [u for u, row in self.providers.items() if row["name"] == unquote(query["name"][0])]
        return FakeAnswer(200, {"resource_providers": [self._view(uuid) for uuid in found]})

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
        whose = {"project_id": "p1", "user_id": "u1", "consumer_generation": 1} if rows else {}
        return FakeAnswer(200, {"allocations": rows, **whose})

    def _put_allocations(self, path: list[str], query: Any, body: Any) -> FakeAnswer:
        self.consumers[path[0]] = {u: row["resources"] for u, row in body["allocations"].items()}
        return FakeAnswer(204)

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
