"""A key manager whose keys outlive the process."""

from __future__ import annotations

import uuid
from typing import Any

from nova_lite.errors import VolumeKeyUnavailable
from nova_lite.wire.context import RequestContext
from tests.fakes.cloud import Ledger

SERVICE, USER = "service", "user"


class LedgerKeys:
    """Passphrases are in the ledger, as ``keys``: id -> [owner, passphrase]. Where it has
    ``users_are_refused``, no user gets or stores any; what the service owns no user ever gets.

    :param real: answers everything else
    """

    def __init__(self, ledger: Ledger, real: Any) -> None:
        self._ledger, self._real = ledger, real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create(self, context: RequestContext, name: str, *, own: bool = False) -> str:
        key_id, owner = str(uuid.uuid4()), SERVICE if own else USER
        with self._ledger.open() as content:
            self._allow(content, own)
            content.setdefault("keys", {})[key_id] = [owner, f"passphrase {name}"]
        return key_id

    def secret(self, context: RequestContext, key_id: str, *, own: bool = False) -> bytes:
        content = self._ledger.read()
        self._allow(content, own)
        owner, passphrase = content.get("keys", {}).get(key_id, (None, ""))
        if owner != (SERVICE if own else USER):
            raise VolumeKeyUnavailable(f"no key {key_id} from it: Forbidden")
        return str(passphrase).encode()

    def delete(self, context: RequestContext, key_id: str, *, own: bool = False) -> None:
        self.secret(context, key_id, own=own)
        with self._ledger.open() as content:
            content["keys"].pop(key_id, None)

    @staticmethod
    def _allow(content: dict[str, Any], own: bool) -> None:
        if content.get("users_are_refused") and not own:
            raise VolumeKeyUnavailable("the key manager was asked, but: Forbidden")
