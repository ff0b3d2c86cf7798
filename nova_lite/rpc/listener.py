"""Receiving from an AMQP broker: a message is the broker's until it is acknowledged here.

oslo.messaging's own RPC listener acknowledges at receipt, before anybody has looked at the message
(``RpcAMQPListener.__call__`` in oslo_messaging/_drivers/amqpdriver.py; ``acknowledge`` of what it
hands out does nothing). A process killed then has lost it. This one leaves the moment to the
dispatcher.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

from oslo_messaging._drivers import amqp, amqpdriver, base, common

from nova_lite.rpc.callers import WAITED_S

LOG = logging.getLogger(__name__)

REMEMBERED = 1000  # acknowledged messages; one that comes again then has lost its acknowledgement


class Incoming(amqpdriver.AMQPIncomingMessage):
    """A request whose :meth:`acknowledge` is what the broker waits for.

    ``received`` is when it came (seconds of the monotonic clock), ``limit`` how long its caller
    waits in all (seconds; None: nobody does, or it was not said), ``may_have_waited`` whether it
    may have been at the broker while this host was not connected.
    """

    _acknowledged = False

    def __init__(self, listener: Listener, ctxt: Any, message: Any, *rest: Any) -> None:
        super().__init__(listener, ctxt, message, *rest)
        self.received = time.monotonic()
        self.limit = _limit(message)
        self.may_have_waited = self.received - listener.connected < WAITED_S

    @property
    def can_wait(self) -> bool:
        """Whether others are handed out while this one is not acknowledged: with
        [oslo_messaging_rabbit]rabbit_qos_prefetch_count they might all wait for each other."""
        return not self.listener.prefetch_size

    def acknowledge(self) -> None:
        """Give the message up for good; safe to repeat, from any thread."""
        if self._acknowledged:
            return  # the broker closes the channel of who acknowledges twice
        self._acknowledged = True
        self.listener.remember(self.unique_id)
        # The connection belongs to the listener's thread, which sends it within milliseconds.
        self._message_operations_handler.do(self._send_acknowledgement)

    def _send_acknowledgement(self) -> None:
        try:
            self.message.acknowledge()
        except Exception as error:
            LOG.warning("A message could not be acknowledged and will come again, to be dropped: "
                        "%s", type(error).__name__)  # fmt: skip


class Listener(amqpdriver.AMQPListener):
    """Hands out messages unacknowledged; drops those that were acknowledged before."""

    message_cls = Incoming

    def __init__(self, driver: Any, connection: Any) -> None:
        super().__init__(driver, connection)
        self._known: deque[str] = deque(maxlen=REMEMBERED)
        self._channel: Any = None
        self.connected = time.monotonic()

    def remember(self, unique_id: str | None) -> None:
        if unique_id:
            self._known.append(unique_id)

    def __call__(self, message: Any) -> None:
        """Called by the connection, in the listener's thread."""
        self._notice_connection(message)
        if message.get(amqp.UNIQUE_ID) in self._known:
            LOG.info("Dropped a message that came again: its acknowledgement was lost")
            message.acknowledge()
            return
        super().__call__(message)

    def _notice_connection(self, message: Any) -> None:
        """Messages that waited while the broker was away come over another channel."""
        channel = getattr(getattr(message, "_raw_message", None), "channel", None)
        if channel is not self._channel:
            self._channel, self.connected = channel, time.monotonic()


def _limit(message: Any) -> float | None:
    """Seconds after which the broker would have dropped a message; None: never."""
    properties = getattr(getattr(message, "_raw_message", None), "properties", None) or {}
    expiration = str(properties.get("expiration") or "")
    return int(expiration) / 1000 if expiration.isdigit() else None


def listen(transport: Any, target: Any) -> Any:
    """What a MessageHandlingServer polls: the consumers of an RPC server on ``target``.

    Queues are declared as oslo.messaging declares them ([oslo_messaging_rabbit] says how), so both
    agents may follow each other on them. Other drivers than RabbitMQ's keep their own listener.
    """
    driver = transport._driver
    if not isinstance(driver, amqpdriver.AMQPDriverBase):
        return transport._listen(target, 1, None)
    connection = driver._get_connection(common.PURPOSE_LISTEN)
    listener = Listener(driver, connection)
    for topic in (target.topic, f"{target.topic}.{target.server}"):
        connection.declare_topic_consumer(
            exchange_name=driver._get_exchange(target), topic=topic, callback=listener
        )
    connection.declare_fanout_consumer(target.topic, listener)
    return base.PollStyleListenerAdapter(listener, 1, None)
