"""What every row of the table of errors is made of."""

from __future__ import annotations

import enum


class Verdict(enum.StrEnum):
    """What a boot that met the error does."""

    RESCHEDULE = "reschedule"  # this host's fault: try the next one
    ABORT = "abort"  # the request's fault: ERROR with a fault
    GONE = "gone"  # the user deleted the server meanwhile: clean up in silence


class NovaLiteError(Exception):
    """Root of all errors raised on purpose; ``message`` is shown to the user.

    ``details`` are arguments of nova's exception from which the API makes a message of its own.
    ``refusal``: this agent does not do what it was asked for; a warning, since nothing went wrong.
    """

    nova_name = "NovaException"
    code = 500
    verdict = Verdict.RESCHEDULE
    expected = False
    refusal = False

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
