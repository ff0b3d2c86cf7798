"""What a step is, and what a plan is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject


class Step(ABC):
    """One idempotent part of an operation.

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
        """Whether the state that ``do`` would reach is already there."""
        return False

    @abstractmethod
    def do(self) -> None:
        """Carry the step out; may be repeated."""

    def undo(self) -> None:  # noqa: B027  most steps have nothing to undo
        """Undo the step; having nothing to undo is success."""


class MappingStep(Step):
    """A step about one volume or share of the server."""

    def __init__(self, work: Work, mapping: WireObject) -> None:
        super().__init__(work)
        self._mapping = mapping


Stage = tuple[Step, ...]
Plan = list[Stage]
