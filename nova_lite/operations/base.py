"""What an operation is: one verb of the compute RPC API as a plan of steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from nova_lite.errors import Failure
from nova_lite.steps.base import Plan, Work


class Operation(ABC):
    """One verb on one server.

    ``event`` is the name under which ``openstack server event show`` tells of it, ``pool`` the
    group of workers that runs it, ``urgent`` makes it interrupt what runs on the server now, and
    ``undoes`` says that a failure takes the steps back: true only where they made something new.
    ``notifies`` is the action in the notifications about it, ``compute.instance.<action>.start``
    and ``instance.<action>.start``; None where the operation sends its own or none.
    """

    event: ClassVar[str]
    pool: ClassVar[str] = "short"
    urgent: ClassVar[bool] = False
    undoes: ClassVar[bool] = False
    notifies: ClassVar[str | None] = None

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tools = work.tools

    def load(self) -> None:  # noqa: B027  the request carries enough for some verbs
        """Fetch what the request lacks, before the plan is made."""

    @abstractmethod
    def plan(self) -> Plan:
        """Stages in order; the steps of one stage run in parallel."""

    @abstractmethod
    def failed(self, failure: Failure) -> None:
        """Tell the API how it ended, after the steps were undone. May be repeated."""
