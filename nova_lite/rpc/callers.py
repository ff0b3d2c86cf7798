"""Until when the caller of a message waits.

A call carries how long its caller waits in all: RabbitMQ drops the message by then (``expiration``
of the AMQP message). One with a call monitor (``client_timeout``, in oslo.messaging) gives up
earlier, when it hears nothing from the host for so long; the message stays in the queue, and says
nothing of when it was sent. It can only have waited there where this host has just connected, and
then no longer than the API has had the request. Calls of nova-api are its first step, so that the
age of the request tells how long they waited; those of a conductor or of another host (a migration)
come at any time of a long request, and are served.
"""

from __future__ import annotations

import time
from typing import Any

from nova_lite.errors import AnswerLost
from nova_lite.peers.methods import METHODS as BETWEEN_HOSTS
from nova_lite.wire.context import RequestContext

# Seconds after a connection was made in which messages come that waited at the broker.
WAITED_S = 60.0
# Seconds for which a message is kept unacknowledged at most. RabbitMQ closes the channel of who
# does for half an hour (its consumer_timeout).
KEPT_S = 900.0


def is_call(message: Any) -> bool:
    """Whether somebody waits for the answer; oslo.messaging gives casts a ``msg_id``, too."""
    return bool(message.reply_q)


def waits_until(message: Any, context: RequestContext) -> float:
    """When the caller of a message gives up, in seconds of the monotonic clock.

    :param message: of :mod:`nova_lite.rpc.listener`; of others it is not known, and is never
    """
    received, limit = getattr(message, "received", None), getattr(message, "limit", None)
    if received is None or not is_call(message):
        return float("inf")
    monitor = float(message.client_timeout or 0)
    if monitor and message.may_have_waited and message.message.get("method") not in BETWEEN_HOSTS:
        waited = context.age - (time.monotonic() - received)
        if waited > monitor:
            return float(received)
    return float(received + limit) if limit else float("inf")


def stays_until_answered(message: Any, answers: bool) -> bool:
    """Whether the broker keeps a message until its caller has the answer.

    It knows where the answer is to go: from it the next process hears that somebody waits for what
    it resumes. Who receives the message must take it back after ``KEPT_S`` seconds.

    :param answers: the caller waits for the operation
    """
    return answers and is_call(message) and bool(getattr(message, "can_wait", False))


def check(until: float, method: str, context: RequestContext) -> None:
    """
    :raises AnswerLost: the caller has given up
    """
    if time.monotonic() >= until:
        raise AnswerLost(
            f"{method} of request {context.request_id} came after its caller had given up waiting: "
            "it has no effect; ask for it again"
        )
