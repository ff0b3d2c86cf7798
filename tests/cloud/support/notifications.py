"""What services say on the notification topics."""

from __future__ import annotations

import contextlib
import json
import time
from types import TracebackType
from typing import Any

import kombu

from tests.cloud.support.devcloud import CloudError, DevCloud

EXCHANGE = "nova"
TOPICS = ("notifications", "versioned_notifications")
QUEUES = [f"{topic}.{priority}" for topic in TOPICS for priority in ("info", "error")]


class Listener:
    """Hears the notifications of one host, from the moment it is entered."""

    def __init__(self, cloud: DevCloud, node: str) -> None:
        self._node = node
        url = cloud.setting(node, "transport_url", "").replace("rabbit://", "amqp://", 1)
        self._connection = kombu.Connection(url, connect_timeout=5)
        self.heard: list[dict[str, Any]] = []

    def __enter__(self) -> Listener:
        channel = self._connection.channel()
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=False, passive=True)
        bindings = [kombu.binding(exchange, routing_key=key) for key in QUEUES]
        queue = kombu.Queue("", bindings=bindings, exclusive=True, auto_delete=True)
        self._consumer = kombu.Consumer(channel, [queue], on_message=self._hear, no_ack=True)
        self._consumer.consume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in QUEUES:  # a sender makes them, so that nothing is lost before somebody listens
            with contextlib.suppress(*self._connection.channel_errors):
                self._connection.channel().queue_delete(name, if_unused=True)
        self._connection.release()

    def _hear(self, message: Any) -> None:
        envelope = json.loads(message.body)
        told = json.loads(envelope["oslo.message"])
        if told["publisher_id"].replace(":", ".").partition(".")[2] == self._node:
            self.heard.append(told)

    def wait(self, event_type: str, server: str | None = None, seconds: float = 30) -> Any:
        """The payload of the first such notification (about a server)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for told in self.heard:
                if told["event_type"] == event_type and server in (None, subject(told)):
                    return fields(told)
            with contextlib.suppress(TimeoutError):
                self._connection.drain_events(timeout=1)
        raise CloudError(
            f"no {event_type} of {server}; heard {[t['event_type'] for t in self.heard]}"
        )

    def names(self, prefix: str, server: str) -> list[str]:
        """Event types about a server, in the order in which they were heard, without ``prefix``."""
        return [
            told["event_type"].removeprefix(prefix)
            for told in self.heard
            if told["event_type"].startswith(prefix) and subject(told) == server
        ]


def fields(told: dict[str, Any]) -> dict[str, Any]:
    """The payload without its wrapping."""
    payload = told["payload"]
    found: dict[str, Any] = payload.get("nova_object.data", payload)
    return found


def subject(told: dict[str, Any]) -> str | None:
    """The server it is about."""
    payload = fields(told)
    return payload.get("instance_id") or payload.get("uuid")
