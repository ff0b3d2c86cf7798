"""Every message of the cloud's RabbitMQ, as its own tracer reports them.

While tracing is on, RabbitMQ publishes a copy of each published message to the exchange
``amq.rabbitmq.trace``, with the connection it came from and the queues it went to.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.cloud.support.devcloud import DevCloud, Process

VIRTUAL_HOST = USER = "openstack"
AMQP_PORT, MANAGEMENT_PORT = 5672, 15672


@dataclass(frozen=True)
class Message:
    """One published message."""

    time: float  # time.time() at arrival here
    connection: str  # of the publisher
    topic: str  # routing key
    queues: tuple[str, ...]  # where it went
    method: str  # RPC method; for calls of objects "Class.method"
    request_id: str
    events: tuple[str, ...] = ()  # names of external events


@dataclass
class Recording:
    """Messages of a period and what belongs to the agents under test."""

    messages: list[Message] = field(default_factory=list)
    connections: set[str] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)

    def sent(self) -> list[Message]:
        """What the agents have published: calls, casts and replies."""
        return [message for message in self.messages if message.connection in self.connections]

    def received(self) -> list[Message]:
        """What was published into queues that the agents read."""
        return [message for message in self.messages if self.queues.intersection(message.queues)]

    def conductor_calls(self) -> list[Message]:
        """The agent's calls of the conductor other than heartbeats."""
        return [
            message
            for message in self.sent()
            if message.topic == "conductor" and message.method != "Service.save"
        ]


class Firehose:
    """Recorder for the agents of one or more hosts."""

    def __init__(self, cloud: DevCloud, *nodes: str) -> None:
        self._cloud = cloud
        self._nodes = nodes
        self._password = cloud.secrets()["RABBIT_PASSWORD"]

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record while the block runs; tracing is off again afterwards."""
        recording, stop = Recording(), threading.Event()
        ready = threading.Event()
        reader = threading.Thread(target=self._read, args=(recording, ready, stop), daemon=True)
        self._learn(recording)
        self._management("PUT", f"vhosts/{VIRTUAL_HOST}", {"tracing": True})
        try:
            reader.start()
            if not ready.wait(20):
                raise RuntimeError("RabbitMQ's tracer gives nothing: is it up?")
            yield recording
            time.sleep(0.3)
            self._learn(recording)
        finally:
            stop.set()
            reader.join(10)
            self._management("PUT", f"vhosts/{VIRTUAL_HOST}", {"tracing": False})

    def consumers(self, queue: str) -> int:
        """How many consumers a queue has this moment; 0 when there is no such queue."""
        from amqp.exceptions import NotFound

        with self._connect() as connection, connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).consumer_count)
            except NotFound:
                return 0

    def _connect(self) -> Any:
        import kombu

        return kombu.Connection(
            hostname="127.0.0.1", port=AMQP_PORT, userid=USER, password=self._password,
            virtual_host=VIRTUAL_HOST,
        )  # fmt: skip

    def _read(self, recording: Recording, ready: threading.Event, stop: threading.Event) -> None:
        with self._connect() as connection, connection.channel() as channel:
            queue = channel.queue_declare("", exclusive=True, auto_delete=True).queue
            channel.queue_bind(queue, "amq.rabbitmq.trace", "publish.#")
            channel.basic_consume(
                queue, no_ack=True, callback=lambda raw: recording.messages.append(_message(raw))
            )
            ready.set()
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    def _learn(self, recording: Recording) -> None:
        """Which connections and queues are the agent's: connection names hold program and pid."""
        pids = [pid for node in self._nodes for pid in inner_pids(self._cloud.agent(node))]
        prefixes = tuple(
            f"{program}:{pid}:" for pid in pids for program in ("nova-compute", "nova-lite-compute")
        )
        for found in self._management("GET", "connections?columns=name,user_provided_name"):
            if str(found.get("user_provided_name", "")).startswith(prefixes):
                recording.connections.add(found["name"])
        for consumer in self._management("GET", f"consumers/{VIRTUAL_HOST}"):
            if consumer["channel_details"].get("connection_name") in recording.connections:
                recording.queues.add(consumer["queue"]["name"])

    def _management(self, method: str, path: str, body: Any = None) -> Any:
        response = requests.request(
            method,
            f"http://127.0.0.1:{MANAGEMENT_PORT}/api/{path}",
            json=body,
            auth=(USER, self._password),
            timeout=20,
        )
        response.raise_for_status()
        return response.json() if response.content else None


def inner_pids(process: Process) -> list[str]:
    """Pids of a process in the namespaces that it is in, outermost first."""
    with open(f"/proc/{process.pid}/status") as status:
        for line in status:
            if line.startswith("NSpid:"):
                return line.split()[1:]
    return [str(process.pid)]


def _message(raw: Any) -> Message:
    headers = raw.headers or {}
    body = _body(raw.body)
    arguments = body.get("args", {})
    method = str(body.get("method", ""))
    if method.startswith("object_"):
        instance = arguments.get("objinst") or {}
        name = arguments.get("objname") or instance.get("nova_object.name", "?")
        method = f"{name}.{arguments.get('objmethod', method)}"
    return Message(
        time.time(),
        str(headers.get("connection", "")),
        str((headers.get("routing_keys") or [""])[0]),
        tuple(headers.get("routed_queues") or ()),
        method,
        str(body.get("_context_request_id", "")),
        _events(arguments),
    )


def _events(arguments: dict[str, Any]) -> tuple[str, ...]:
    found = arguments.get("events")
    if not isinstance(found, list):
        return ()
    return tuple(str(one.get("nova_object.data", {}).get("name")) for one in found)


def _body(raw: Any) -> dict[str, Any]:
    try:
        envelope = json.loads(raw)
        inner = envelope.get("oslo.message")
        return json.loads(inner) if inner else envelope
    except (ValueError, AttributeError):
        return {}
