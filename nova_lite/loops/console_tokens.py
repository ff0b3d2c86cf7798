"""Expired console tokens."""

from __future__ import annotations

from nova_lite.conductor.records import ConsoleTokens
from nova_lite.wire.context import RequestContext

INTERVAL_S = 300.0  # seconds between two looks, as with stock


class ExpiredTokens:
    """Deletes expired console tokens; does nothing while this host creates none."""

    def __init__(self, tokens: ConsoleTokens) -> None:
        self._tokens = tokens

    def tick(self) -> None:
        self._tokens.clean_expired(RequestContext.admin())
