"""get_console_output: the log of a guest's first serial port."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova_lite import errors
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG_LIMIT = 100 * 1024  # bytes of the console log that a caller gets, as with stock


class ConsoleLog:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def get_console_output(
        self,
        context: RequestContext,
        instance: WireObject,
        tail_length: int | str | None = None,
        **_ignored: Any,
    ) -> str:
        """The last ``tail_length`` lines (all: None); a negative number leaves out the first ones.

        The log is kept when the guest stops.
        """
        uuid = str(instance["uuid"])
        if not self._tools.hypervisor.defined(uuid):
            raise errors.ServerNotReady(f"Instance {uuid} is not ready: it has no guest yet")
        path = Path(self._tools.conf.instances_path) / uuid / "console.log"
        try:
            content = _tail(path, LOG_LIMIT)
        except FileNotFoundError:
            raise errors.ConsoleNotAvailable(
                f"Guest of instance {uuid} does not have a console available"
            ) from None
        text = content.decode("ascii", "replace").replace("\ufffd", "?")
        if tail_length is None or str(tail_length) == "":
            return text
        try:
            count = int(tail_length)
        except ValueError:
            raise errors.MalformedMessage(
                f"tail_length is {tail_length!r}; it must be a number of lines"
            ) from None
        return "\n".join(text.split("\n")[-count:]) if count else ""


def _tail(path: Path, limit: int) -> bytes:
    """The last ``limit`` bytes of a log and, when it is shorter, of those rotated before it."""
    content = b""
    for part in _generations(path):
        try:
            with open(part, "rb") as file:
                size = file.seek(0, 2)
                wanted = min(size, limit - len(content))
                file.seek(size - wanted)
                content = file.read(wanted) + content
        except FileNotFoundError:
            if part == path:
                raise
            break
        if len(content) >= limit:
            break
    return content


def _generations(path: Path) -> Iterator[Path]:
    """The log and those that virtlogd rotated away, youngest first."""
    yield path
    for number in itertools.count():
        yield path.with_name(f"{path.name}.{number}")
