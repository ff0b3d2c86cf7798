"""What is kept of an error: in the journal, in the server's fault and for whoever waits."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nova_lite.errors import NovaLiteError, Verdict

_OF_ANOTHER_HOST = re.compile(r"host \S+: ")


@dataclass(frozen=True)
class Failure:
    """An error as the journal, the fault and the action event keep it.

    ``message`` may be read by the user: the table's own text, or only the type of a surprise, whose
    text could hold anything. ``trace`` is file and line of each frame, without values.

    :raises ValueError: there is no such verdict
    """

    nova_name: str
    message: str
    code: int
    verdict: Verdict
    expected: bool
    trace: str

    def __post_init__(self) -> None:
        # The journal keeps the word.
        object.__setattr__(self, "verdict", Verdict(self.verdict))

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
        trace = "".join([*frames, type(error).__name__])
        if isinstance(error, NovaLiteError):
            return cls(
                error.nova_name,
                error.message,
                error.code,
                error.verdict,
                error.expected,
                trace,
            )
        expected = False
        message = f"Unexpected {type(error).__name__} in the compute agent; see its log"
        if isinstance(error, OSError) and error.filename is not None:
            # A disk of this host: full, read-only, not permitted. The log names the path.
            expected = True
            message = f"{error.strerror} on the compute host; its log names the file"
        return cls("NovaException", message, 500, Verdict.RESCHEDULE, expected, trace)

    def told_by(self, host: str) -> Failure:
        """The same for whoever does not know which of two hosts failed: the message has the name.

        What another host has told begins with that host's (``wire/exceptions.py``), and stays.

        :param host: where it failed
        """
        whole = re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)", self.message)
        if whole or _OF_ANOTHER_HOST.match(self.message):
            return self
        return replace(self, message=f"{self.message} (host {host})")

    def as_dict(self) -> dict[str, Any]:
        """In words and numbers, for the journal."""
        return {**asdict(self), "verdict": self.verdict.value}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Failure:
        """What ``as_dict`` has kept, perhaps in a newer agent that knows more of a failure.

        :raises KeyError: something is missing
        """
        return cls(**{field.name: kept[field.name] for field in fields(cls)})


class OperationFailed(NovaLiteError):
    """What the caller is told of an operation that he waited for."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.nova_name, self.code = failure.nova_name, failure.code
        self.verdict, self.expected = failure.verdict, failure.expected
