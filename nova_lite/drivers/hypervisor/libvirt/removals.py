"""What guests answer when they are asked to give a device back.

They need not answer, and an answer can get lost with the connection: whoever waits looks now and
then by itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import libvirt


class Answer:
    """What libvirt has told about one device."""

    def __init__(self) -> None:
        self.refused = False
        self._news = threading.Event()

    def tell(self, *, refused: bool) -> None:
        """libvirt said something."""
        self.refused = refused
        self._news.set()

    def wait(self, timeout: float) -> None:
        """Until there is news, at most ``timeout`` seconds."""
        self._news.wait(timeout)
        self._news.clear()


class Removals:
    """Brings answers from libvirt's thread to whoever waits for them."""

    def __init__(self) -> None:
        self._expected: dict[tuple[str, str], Answer] = {}

    def register(self, connection: Any) -> None:
        """Ask a newly opened connection for answers."""
        for kind, function in (
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_removed),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._on_refused),
        ):
            connection.domainEventRegisterAny(None, kind, function, None)

    @contextlib.contextmanager
    def expect(self, uuid: str, alias: str) -> Iterator[Answer]:
        """Listen for what is told of a device; begin before the guest is asked."""
        answer = self._expected[uuid, alias] = Answer()
        try:
            yield answer
        finally:
            self._expected.pop((uuid, alias), None)

    def _on_removed(self, _connection: Any, domain: Any, alias: str, _opaque: object) -> None:
        self._tell(domain, alias, refused=False)

    def _on_refused(self, _connection: Any, domain: Any, alias: str, _opaque: object) -> None:
        self._tell(domain, alias, refused=True)

    def _tell(self, domain: Any, alias: str, *, refused: bool) -> None:
        answer = self._expected.get((domain.UUIDString(), alias))
        if answer is not None:
            answer.tell(refused=refused)
