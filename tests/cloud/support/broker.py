"""The cloud's RabbitMQ, for those that listen to what others say: its tracer and its management.

While tracing is on, RabbitMQ publishes a copy of each published message to the exchange
``amq.rabbitmq.trace``, with the connection it came from and the queues it went to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import requests

from tests.cloud.support.devcloud import DevCloud

VIRTUAL_HOST = USER = "openstack"
AMQP_PORT, MANAGEMENT_PORT = 5672, 15672


class Broker:
    """A client of it with the password of all services."""

    def __init__(self, cloud: DevCloud) -> None:
        self._cloud = cloud

    @property
    def _password(self) -> str:
        """Read anew each time: a cloud that is wiped meanwhile gets other ones."""
        return self._cloud.secrets()["RABBIT_PASSWORD"]

    def trace(self, on: bool) -> None:
        """Switch tracing on or off; whoever else listens loses it, too."""
        self.management("PUT", f"vhosts/{VIRTUAL_HOST}", {"tracing": on})

    def connections(self) -> dict[str, str]:
        """What each connection calls itself, by its name: ``nova-conductor:PID:UUID``."""
        found = self.management("GET", "connections?columns=name,user_provided_name")
        return {one["name"]: str(one.get("user_provided_name") or "") for one in found}

    def connect(self) -> Any:
        """A connection, not yet opened."""
        import kombu

        return kombu.Connection(
            hostname="127.0.0.1", port=AMQP_PORT, userid=USER, password=self._password,
            virtual_host=VIRTUAL_HOST,
        )  # fmt: skip

    def listen(
        self, heard: Callable[[Any], None], ready: Callable[[], None], ended: Callable[[], bool]
    ) -> None:
        """Hand each traced message to ``heard``, until ``ended``.

        :param ready: called once nothing is missed any more
        :raises OSError, amqp.exceptions.AMQPError: the broker has gone
        """
        with self.connect() as connection, connection.channel() as channel:
            queue = channel.queue_declare("", exclusive=True, auto_delete=True).queue
            channel.queue_bind(queue, "amq.rabbitmq.trace", "publish.#")
            channel.basic_consume(queue, no_ack=True, callback=heard)
            ready()
            while not ended():
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    def management(self, method: str, path: str, body: Any = None) -> Any:
        """An answer of the management API.

        :raises requests.RequestException: there is none, or it is an error
        """
        response = requests.request(
            method,
            f"http://127.0.0.1:{MANAGEMENT_PORT}/api/{path}",
            json=body,
            auth=(USER, self._password),
            timeout=20,
        )
        response.raise_for_status()
        return response.json() if response.content else None


def body_of(raw: Any) -> dict[str, Any]:
    """The message without oslo.messaging's envelope; empty when it is none."""
    try:
        envelope = json.loads(raw)
        inner = envelope.get("oslo.message")
        return json.loads(inner) if inner else envelope
    except (ValueError, AttributeError):
        return {}
