"""A Manila: access rules of shares, on disk so that they outlive a killed agent.

``FakeManila`` stands in for the client; ``serve`` answers the REST calls of the real one. Shares
are let at after ``SLOWLY`` looks at a new rule.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.drivers.share.base import ShareDriver
from nova_lite.errors import (
    ShareAccessGrantError,
    ShareAccessRemovalError,
    ShareNotFound,
    ShareProtocolUnsupported,
)
from nova_lite.model.share import AccessRule, Share
from tests.fakes.cloud import Ledger
from tests.fakes.http_cloud import Call, Reply

SLOWLY = 1


class Rules:
    """``manila`` of the ledger: share id -> its rules; a share that is not there does not exist."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add_share(self, share_id: str) -> None:
        with self._ledger.open() as content:
            content.setdefault("manila", {})[share_id] = []

    def of(self, share_id: str) -> list[dict[str, Any]]:
        """The rules of a share; whoever looks sees them become active.

        :raises KeyError: no such share
        """
        with self._ledger.open() as content:
            rules = content.get("manila", {})[share_id]
            seen = [dict(rule) for rule in rules]
            for rule in rules:
                rule["looks"] += 1
                if rule["state"] == "queued_to_apply" and rule["looks"] >= SLOWLY:
                    rule["state"] = "active"
            return seen

    def add(self, share_id: str, access: dict[str, Any]) -> dict[str, Any] | None:
        """None where there is such a rule."""
        with self._ledger.open() as content:
            rules = content.get("manila", {})[share_id]
            if any(_whom(rule) == _whom(access) for rule in rules):
                return None
            key = "AQ==" if access["access_type"] == "cephx" else None
            rule = {**access, "id": str(uuid.uuid4()), "state": "queued_to_apply", "looks": 0,
                    "access_key": key}  # fmt: skip
            rules.append(rule)
            return rule

    def remove(self, share_id: str, rule_id: str, *, unrestrict: bool) -> str:
        with self._ledger.open() as content:
            rules = content.get("manila", {})[share_id]
            found = next((rule for rule in rules if rule["id"] == rule_id), None)
            if found is None:
                return "gone"
            if found.get("lock_deletion") and not unrestrict:
                return "locked"
            rules.remove(found)
            return "removed"


def _whom(rule: dict[str, Any]) -> tuple[str, str]:
    return rule["access_type"], rule["access_to"]


class FakeManila:
    """See ``nova_lite.clients.manila.Manila``."""

    def __init__(self, ledger: Ledger) -> None:
        self.rules = Rules(ledger)

    def access_rule(self, context, share_id, access_type, access_to):
        try:
            for rule in self.rules.of(share_id):
                if _whom(rule) == (access_type, access_to):
                    return AccessRule(rule["id"], rule["state"], rule["access_key"])
        except KeyError:
            raise ShareNotFound(share_id) from None
        return None

    def allow(self, context, share_id, access_type, access_to, lock_reason):
        access = {"access_type": access_type, "access_to": access_to, "lock_deletion": True}
        try:
            if self.rules.add(share_id, access) is None:
                raise ShareAccessGrantError(share_id, "there is such a rule")
        except KeyError:
            raise ShareNotFound(share_id) from None

    def deny(self, context, share_id, rule_id):
        try:
            if self.rules.remove(share_id, rule_id, unrestrict=True) == "locked":
                raise ShareAccessRemovalError(share_id, "locked")
        except KeyError:
            return


def serve(rules: Rules, call: Call) -> Reply:
    """Manila's REST API below its endpoint, as much of it as nova_lite and nova-api use."""
    parts = call.path.strip("/").split("/")
    if parts and parts[0] == "v2":
        parts = parts[1:]
    try:
        if parts == ["share-access-rules"]:
            share_id = call.query["share_id"][0]
            try:
                return Reply(200, {"access_list": rules.of(share_id)})
            except KeyError:
                return Reply(400, {"badRequest": {"message": f"Share {share_id} not found."}})
        if parts[0] == "shares" and parts[2:] == ["action"]:
            return _act(rules, parts[1], call.body)
    except KeyError:
        return Reply(404, {"itemNotFound": {"message": "Share could not be found."}})
    return Reply(404, {"itemNotFound": {"message": f"{call.method} {call.path}"}})


def _act(rules: Rules, share_id: str, body: dict[str, Any]) -> Reply:
    if "allow_access" in body:
        rule = rules.add(share_id, body["allow_access"])
        if rule is None:
            return Reply(400, {"badRequest": {"message": "Share access exists."}})
        return Reply(200, {"access": rule})
    asked = body["deny_access"]
    outcome = rules.remove(
        share_id, asked["access_id"], unrestrict=bool(asked.get("unrestrict"))
    )
    if outcome == "locked":
        return Reply(403, {"forbidden": {"message": "This access rule is locked."}})
    return Reply(404 if outcome == "gone" else 202, {})


class DirectoryShares(ShareDriver):
    """Share ``<directory>/shares/<id>``, mounted for whom ``<directory>/mounted/<id>.<server>``
    exists.

    :param directory: of the host
    :param storage: where the shares are, if several hosts share them
    """

    def __init__(self, directory: Path, storage: Path | None = None) -> None:
        self._shares = (storage or directory) / "shares"
        self._mounted = directory / "mounted"

    def mount(self, share: Share, server_uuid: str) -> None:
        self.directory(share).mkdir(parents=True, exist_ok=True)
        self._mounted.mkdir(exist_ok=True)
        (self._mounted / f"{share.id}.{server_uuid}").touch()

    def unmount(self, share: Share, server_uuid: str) -> None:
        (self._mounted / f"{share.id}.{server_uuid}").unlink(missing_ok=True)

    def mounted(self, share: Share) -> bool:
        return any(self._mounted.glob(f"{share.id}.*"))

    def directory(self, share: Share) -> Path:
        return self._shares / share.id


class FakeShareDrivers:
    """Knows NFS only."""

    def __init__(self, driver: ShareDriver) -> None:
        self._driver = driver

    def of(self, protocol: str) -> ShareDriver:
        if protocol != "NFS":
            raise ShareProtocolUnsupported(f"Share protocol {protocol} is not supported.")
        return self._driver

    @contextmanager
    def guard(self, share_id: str) -> Iterator[None]:
        yield
