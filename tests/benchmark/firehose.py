"""Every message of the cloud's RabbitMQ, as its own tracer reports them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.cloud.support.broker import VIRTUAL_HOST, Broker, body_of
from tests.cloud.support.devcloud import DevCloud, Process


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
        self._broker = Broker(cloud)

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record while the block runs; tracing is off again afterwards."""
        recording, stop = Recording(), threading.Event()
        ready = threading.Event()
        reader = threading.Thread(target=self._read, args=(recording, ready, stop), daemon=True)
        self._learn(recording)
        self._broker.trace(True)
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
            self._broker.trace(False)

    def consumers(self, queue: str) -> int:
        """How many consumers a queue has this moment; 0 when there is no such queue."""
        from amqp.exceptions import NotFound

        with self._broker.connect() as connection, connection.channel() as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).consumer_count)
            except NotFound:
                return 0

    def _read(self, recording: Recording, ready: threading.Event, stop: threading.Event) -> None:
        self._broker.listen(
            lambda raw: recording.messages.append(_message(raw)), ready.set, stop.is_set
        )

    def _learn(self, recording: Recording) -> None:
        """Which connections and queues are the agent's: connection names hold program and pid."""
        pids = [pid for node in self._nodes for pid in inner_pids(self._cloud.agent(node))]
        prefixes = tuple(
            f"{program}:{pid}:" for pid in pids for program in ("nova-compute", "nova-lite-compute")
        )
        for name, program in self._broker.connections().items():
            if program.startswith(prefixes):
                recording.connections.add(name)
        for consumer in self._broker.management("GET", f"consumers/{VIRTUAL_HOST}"):
            if consumer["channel_details"].get("connection_name") in recording.connections:
                recording.queues.add(consumer["queue"]["name"])


def inner_pids(process: Process) -> list[str]:
    """Pids of a process in the namespaces that it is in, outermost first."""
    with open(f"/proc/{process.pid}/status") as status:
        for line in status:
            if line.startswith("NSpid:"):
                return line.split()[1:]
    return [str(process.pid)]


def _message(raw: Any) -> Message:
    headers = raw.headers or {}
    body = body_of(raw.body)
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
