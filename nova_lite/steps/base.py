"""What a step is, and what a plan is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject


class Step(ABC):
    """One idempotent brick.

    ``done`` is asked only when the step may have begun before (the agent was killed in it, or an
    answer got lost): it looks at the world, not at our memory. ``do`` and ``undo`` may be repeated.
    ``exclusive``: as long as this is not taken back, no other host may have the server.
    """

    name: str
    exclusive: bool = False

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tools = work.tools

    def done(self) -> bool:
        """Whether the world already is as ``do`` would make it."""
        return False

    @abstractmethod
    def do(self) -> None:
        """Make it so."""

    def undo(self) -> None:  # noqa: B027  most steps have nothing to take back
        """Take it back; nothing to take back is success."""


class MappingStep(Step):
    """A step about one volume or share of the server."""

    def __init__(self, work: Work, mapping: WireObject) -> None:
        super().__init__(work)
        self._mapping = mapping


Stage = tuple[Step, ...]
Plan = list[Stage]
