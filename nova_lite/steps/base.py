"""What a step is, and what a plan is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject


class Step(ABC):
    """One idempotent part of an operation.

    ``done`` is asked when the step may have begun before: the agent was killed in it, an answer got
    lost, or the power failed since the operation began. It looks at the world, not at our memory.
    After a power failure it is asked of every step in order, also of those that had ended: taps are
    gone, guests are off. Where it says False, ``do`` must be right although later steps may have
    been carried out, too. ``do`` and ``undo`` may be repeated, and ``undo`` may be called for a
    step that was never begun. ``exclusive``: as long as this is not taken back, no other host may
    have the server. ``repeated``, set by the engine before ``do``: an earlier attempt may have
    begun the step, in this process or in another one.
    """

    name: str
    exclusive: bool = False
    repeated: bool = True

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


@dataclass(frozen=True)
class NoWayBack:
    """The point of no return in a plan: what is before it may be taken back, what is after not.

    A plan without one is never taken back. At the very end of a plan it says that all of it may be
    taken back as long as it is not complete.

    :param reason: why, for the log
    :param passed: whether the world says that it was passed; asked when the stage before it fails,
        for what that did may have come true all the same
    """

    reason: str
    passed: Callable[[], bool] | None = None


Stage = tuple[Step, ...]
Plan = list[Stage | NoWayBack]

COMPLETE = NoWayBack("it is complete")


def stages(plan: Sequence[Stage | NoWayBack]) -> list[Stage]:
    """The stages of a plan without its point of no return."""
    return [stage for stage in plan if not isinstance(stage, NoWayBack)]


def undoable(plan: Sequence[Stage | NoWayBack]) -> tuple[list[Stage], NoWayBack | None]:
    """The stages that a failure takes back, and the point that ends them."""
    for number, stage in enumerate(plan):
        if isinstance(stage, NoWayBack):
            return stages(plan[:number]), stage
    return [], None
