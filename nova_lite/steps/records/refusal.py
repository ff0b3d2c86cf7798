"""The one step of what this agent does not do."""

from __future__ import annotations

from nova_lite.errors import NovaLiteError
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class Refuse(Step):
    """Fail, so that the operation tells the API of its refusal and leaves the server as it was.

    :param error: what the user is told
    """

    name = "refuse"

    def __init__(self, work: Work, error: NovaLiteError) -> None:
        super().__init__(work)
        self._error = error

    def do(self) -> None:
        raise self._error
