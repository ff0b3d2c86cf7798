"""Messages to an agent exactly as they are on the wire, right or wrong."""

from __future__ import annotations

import json
import uuid
from typing import Any

import kombu

from tests.cloud.support.devcloud import CloudError, DevCloud

EXCHANGE = "nova"
# What is asked of nova-conductor here, in versions that every supported release knows.
VERSIONS = {"Instance": "2.8", "Flavor": "1.2", "InstanceAction": "1.2"}
TIMEOUT = object()  # what ``call`` returns when nobody answers


class RawAmqp:
    """A client of the broker that knows oslo.messaging's envelope and nothing of its sense."""

    def __init__(self, cloud: DevCloud, node: str, host: str | None = None) -> None:
        """Speak to the agent of ``host``, with the broker of ``node`` (default: the same)."""
        self._node = host or node
        # nova.conf speaks of rabbit://, kombu of amqp://.
        url = cloud.setting(node, "transport_url", "").replace("rabbit://", "amqp://", 1)
        self._connection = kombu.Connection(url, connect_timeout=5)

    def close(self) -> None:
        self._connection.release()

    def publish(self, body: Any, *, topic: str = "compute", **properties: Any) -> None:
        """Put ``body`` into the queue of the agent; ``properties`` are AMQP's."""
        self.send_to(f"{topic}.{self._node}", body, **properties)

    def send_to(self, routing_key: str, body: Any, **properties: Any) -> None:
        producer = self._connection.Producer()
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=False, passive=True)
        producer.publish(body, exchange=exchange, routing_key=routing_key, **properties)

    def cast(self, method: str, args: Any = None, *, topic: str = "compute", **more: Any) -> str:
        """Send an RPC that nobody waits for; returns its request id.

        :param more: ``version``, ``namespace``, ``context`` (fields), ``message`` (further keys)
        """
        context = _context(more.pop("context", {}))
        self.publish(_envelope(_message(method, args, context, more)), topic=topic)
        return str(context["request_id"])

    def ask_conductor(
        self, method: str, args: list[Any], kwargs: Any, *, context: Any = None
    ) -> Any:
        """Result of ``Class.method`` there.

        :raises CloudError: it refuses
        """
        name, objmethod = method.split(".")
        return self._conductor(
            "object_class_action_versions", context, objname=name, objmethod=objmethod,
            object_versions=VERSIONS, args=args, kwargs=kwargs,
        )  # fmt: skip

    def save(self, instance: dict[str, Any], **fields: Any) -> None:
        """Write ``fields`` of a server into its record, as the API does before it casts."""
        data = {"uuid": instance["nova_object.data"]["uuid"],
                "id": instance["nova_object.data"]["id"], **fields}  # fmt: skip
        partial = {**instance, "nova_object.data": data, "nova_object.changes": list(fields)}
        self._conductor(
            "object_action", None, objinst=partial, objmethod="save", args=[], kwargs={}
        )

    def _conductor(self, method: str, context: Any, **arguments: Any) -> Any:
        answer = self.call(method, arguments, key="conductor", version="3.0", context=context or {})
        if answer is TIMEOUT or isinstance(answer, Refusal):
            raise CloudError(f"nova-conductor: {answer!r}")
        return answer

    def call(
        self,
        method: str,
        args: Any = None,
        *,
        topic: str = "compute",
        seconds: float = 20,
        **more: Any,
    ) -> Any:
        """Send an RPC and wait: the result, a :class:`Refusal`, or TIMEOUT."""
        queue_name = f"reply_bad_{uuid.uuid4().hex}"
        key = more.pop("key", f"{topic}.{self._node}")
        message = _message(method, args, _context(more.pop("context", {})), more)
        message["_msg_id"], message["_reply_q"] = uuid.uuid4().hex, queue_name
        exchange = kombu.Exchange(queue_name, "direct", durable=False, auto_delete=True)
        queue = kombu.Queue(queue_name, exchange, queue_name, durable=False, auto_delete=True)
        answers: list[dict[str, Any]] = []

        def received(body: Any, incoming: Any) -> None:
            incoming.ack()
            answers.append(json.loads(body["oslo.message"]))

        with self._connection.Consumer([queue], callbacks=[received], accept=["json"]):
            self.send_to(key, _envelope(message))
            try:
                while not answers or not answers[-1]["ending"]:
                    self._connection.drain_events(timeout=seconds)
            except TimeoutError:
                return TIMEOUT
        if answers[-1]["failure"]:
            return Refusal(json.loads(answers[-1]["failure"]))
        return answers[-1]["result"]

    def waiting(self, queue: str) -> int:
        """Messages in a queue that no consumer has taken."""
        with self._connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)


class Refusal:
    """An exception as it came over the wire; ``text`` is all of it."""

    def __init__(self, failure: dict[str, Any]) -> None:
        self.name = f"{failure['module']}.{failure['class']}"
        self.message = str(failure["message"])
        self.code = failure["kwargs"].get("code")
        self.text = json.dumps(failure)

    def __repr__(self) -> str:
        return f"<{self.name} {self.code}: {self.message}>"


def _context(more: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": f"req-{uuid.uuid4()}", "is_admin": True, "user_id": None,
        "project_id": None, "auth_token": None, "roles": ["admin"], "service_catalog": [],
        "read_deleted": "no", **more,
    }  # fmt: skip


def _message(
    method: str, args: Any, context: dict[str, Any], more: dict[str, Any]
) -> dict[str, Any]:
    message = {
        "method": method, "args": {} if args is None else args, "version": "6.0",
        "_unique_id": uuid.uuid4().hex, **{f"_context_{key}": context[key] for key in context},
    }  # fmt: skip
    message.update(more.pop("message", {}))
    message.update({key: value for key, value in more.items() if value is not None})
    return message


def _envelope(message: dict[str, Any]) -> dict[str, str]:
    return {"oslo.version": "2.0", "oslo.message": json.dumps(message)}


def require_consumers(amqp: RawAmqp) -> None:
    """:raises CloudError: the agent does not answer a ping"""
    for topic in ("compute", "compute-alt"):
        answer = amqp.call("ping", {"arg": topic}, topic=topic, namespace="baseapi", version="1.1")
        if answer != {"service": "compute", "arg": topic}:
            raise CloudError(f"the agent does not answer on {topic}: {answer!r}")
