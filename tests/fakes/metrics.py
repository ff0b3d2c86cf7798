"""Metrics that stay in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from nova_lite.drivers.metrics.base import Metrics


class CountedMetrics(Metrics):
    """``values``: (name, sorted labels) -> sum."""

    def __init__(self) -> None:
        self.values: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self.closed = False

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
        self.values[name, tuple(sorted(labels.items()))] += amount

    def close(self) -> None:
        self.closed = True
