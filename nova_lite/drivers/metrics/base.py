"""The contract of a metrics driver: where the agent's numbers go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Metrics(ABC):
    """Receives numbers of this agent. Safe between threads.

    Entry points: ``nova_lite.metrics``; [nova_lite]metrics names those in use. A driver is built
    with the agent's ``ConfigOpts``.
    """

    @abstractmethod
    def count(self, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
        """Add to a counter, which starts at 0 with the agent and never falls.

        It is called in the thread of an operation: it must not wait for anybody, and what goes
        wrong is logged, never raised.

        :param name: snake case with its unit, such as ``operation_seconds_total``
        :param labels: names and values, such as ``{"method": "stop_instance"}``; never of a single
            server
        :param amount: not negative
        """

    @abstractmethod
    def close(self) -> None:
        """Hand over what was counted last; the agent stops."""
