"""Sending one RPC message, and what it means when that fails.

``conductor/`` and ``peers/`` both send through here, so a messaging error becomes the same row of
the table of errors wherever it happens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import amqp
import oslo_messaging as messaging
from kombu.exceptions import KombuError

from nova_lite.clock import SYSTEM, Clock
from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError, UnexpectedTaskState
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.serializer import NovaSerializer

LOG = logging.getLogger(__name__)

# Attempts of oslo.messaging to hand a message to the broker before it gives up; what comes after
# that is the operation engine's business, which knows whether waiting makes sense.
SEND_RETRIES = 2
# A broker that was restarted has lost the queues; their consumers declare them again when they are
# back, within seconds. Nobody can have got a message without a queue: it is sent again.
UNROUTED_PATIENCE = 10.0  # seconds
UNROUTED_PAUSE = 1.0


@dataclass(frozen=True)
class Receiver:
    """Who gets a message, in the words of the errors.

    ``silent``: the row of the table when nobody answers. ``remedy``: what to check then.
    ``failed`` makes the error of an exception that the receiver raised.
    """

    name: str
    silent: type[NovaLiteError]
    remedy: str
    failed: Callable[[messaging.RemoteError], NovaLiteError]


def client(
    transport: Any, target: messaging.Target, outgoing: Outgoing | None = None
) -> Any:
    """An RPC client whose messages the broker refuses while there is no queue for them.

    Without that (AMQP's flag ``mandatory``) RabbitMQ drops such a message in silence: a call would
    wait for its whole timeout, and a cast would be lost.

    :param outgoing: makes messages fit the control plane, or raises ObjectUnknown; default: the
        oldest release
    """
    return messaging.get_rpc_client(
        transport,
        target,
        serializer=NovaSerializer(outgoing or Outgoing()),
        retry=SEND_RETRIES,
        transport_options=messaging.TransportOptions(at_least_once=True),
    )


def deliver(
    receiver: Receiver,
    what: str,
    send: Callable[[float | None], Any],
    waits: Sequence[float | None] = (None,),
    clock: Clock = SYSTEM,
) -> Any:
    """Send a message and return what comes back.

    :param what: the remote method as an operator would name it
    :param send: sends it once; called with the seconds to wait for the answer
    :param waits: those seconds, one for each attempt; more than one only for what may be carried
        out twice, as nobody knows whether a message without an answer was
    :raises ControlPlaneUnavailable: the broker does not take it
    :raises NovaLiteError: ``receiver.silent`` or what ``receiver.failed`` makes
    """
    asked_before = False
    with _broker_errors(what):
        for wait in waits[:-1]:
            try:
                return _routed(receiver, what, wait, send, asked_before, clock)
            except messaging.MessagingTimeout:
                LOG.warning("%s did not answer %s in %s s; asking again", receiver.name, what, wait)
                asked_before = True
        began = clock.monotonic()
        try:
            return _routed(receiver, what, waits[-1], send, asked_before, clock)
        except messaging.MessagingTimeout:
            waited = clock.monotonic() - began
            raise receiver.silent(
                f"{receiver.name} did not answer {what} in {waited:.0f} s; {receiver.remedy}"
            ) from None


def _routed(
    receiver: Receiver,
    what: str,
    wait: float | None,
    send: Callable[[float | None], Any],
    asked_before: bool,
    clock: Clock,
) -> Any:
    """Send it, and again for a while where there is no queue that it could be in."""
    deadline = clock.monotonic() + min(UNROUTED_PATIENCE, wait or UNROUTED_PATIENCE)
    while True:
        try:
            return send(wait)
        except messaging.MessageUndeliverable:
            if clock.monotonic() + UNROUTED_PAUSE > deadline:
                raise receiver.silent(
                    f"{receiver.name} has no queue on the message broker for {what}; "
                    f"{receiver.remedy}"
                ) from None
            clock.sleep(UNROUTED_PAUSE)
            asked_before = True
        except Exception as error:
            remote = _remote(error)
            if remote is None:
                raise
            failure = receiver.failed(remote)
            if isinstance(failure, UnexpectedTaskState):
                failure.asked_before = asked_before
            raise failure from None


def _remote(error: Exception) -> messaging.RemoteError | None:
    """The exception that the receiver raised, None where ``error`` comes from here.

    oslo.messaging raises Python's own exceptions as they were over there, with the traceback as
    further lines of the first argument (deserialize_remote_exception): an OSError of the receiver
    must not be taken for one of our connection to the broker.
    """
    if isinstance(error, messaging.RemoteError):
        return error
    text = error.args[0] if error.args else None
    if type(error).__module__ != "builtins" or not isinstance(text, str) or "\n" not in text:
        return None
    return messaging.RemoteError(type(error).__name__, text.partition("\n")[0])


@contextmanager
def _broker_errors(what: str) -> Iterator[None]:
    """Errors on the way to the broker; the receiver has nothing to do with them."""
    try:
        yield
    except NovaLiteError:
        raise
    except messaging.MessageDeliveryFailure as error:
        raise ControlPlaneUnavailable(
            f"the message broker did not take {what}: {type(error).__name__}; check "
            "[DEFAULT]transport_url and the broker"
        ) from None
    except (OSError, amqp.AMQPError, KombuError) as error:
        # A new connection that the broker does not take; oslo.messaging lets it through as is.
        raise ControlPlaneUnavailable(
            f"the message broker does not take {what}: {type(error).__name__}; check "
            "[DEFAULT]transport_url and the broker"
        ) from None
    except messaging.MessagingException as error:
        raise ControlPlaneUnavailable(
            f"messaging failed for {what}: {type(error).__name__}"
        ) from error
