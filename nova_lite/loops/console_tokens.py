"""Console tokens that nobody used in time."""

from __future__ import annotations

from nova_lite.conductor.records import ConsoleTokens
from nova_lite.wire.context import RequestContext

INTERVAL_S = 300.0  # seconds between two looks, as with stock


class ExpiredTokens:
    """Forgets console tokens that have expired; silent while this host gives out none."""

    def __init__(self, tokens: ConsoleTokens) -> None:
        self._tokens = tokens

    def tick(self) -> None:
        self._tokens.clean_expired(RequestContext.admin())
