"""What a messaging error means, for everybody who sends."""

from __future__ import annotations

import socket

import amqp
import oslo_messaging as messaging
import pytest
from kombu.exceptions import OperationalError

from nova_lite.errors import (
    ControlPlaneUnavailable,
    PeerUnavailable,
    UnexpectedTaskState,
)
from nova_lite.messaging import sending
from nova_lite.wire import exceptions
from nova_lite.wire.exceptions import RemoteFailure
from tests.fakes.clock import ManualClock

SOMEBODY = sending.Receiver(
    "host two", PeerUnavailable, "check it", lambda error: exceptions.incoming(error)
)
UNROUTED = messaging.MessageUndeliverable(None, "nova", "compute.two", {})


@pytest.fixture
def clock():
    return ManualClock(0.0)


class Attempts:
    """Raises or returns one thing after the other; ``waits``: what it was called with."""

    def __init__(self, *answers):
        self.answers, self.waits = list(answers), []

    def __call__(self, wait):
        self.waits.append(wait)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def deliver(attempts, *waits, clock=None):
    return sending.deliver(
        SOMEBODY, "prep_resize", attempts, waits or (60.0,), clock or ManualClock(0.0)
    )


def test_an_answer_is_handed_out():
    """And asked for once."""
    attempts = Attempts("answer")

    assert deliver(attempts, 8.0, 60.0) == "answer"
    assert attempts.waits == [8.0]


def test_silence_names_the_receiver_and_what_to_check():
    """Of the kind that the receiver's silence is."""
    with pytest.raises(PeerUnavailable, match="host two did not answer prep_resize in .*check it"):
        deliver(Attempts(messaging.MessagingTimeout()))


def test_what_may_be_asked_twice_is():
    """With more patience each time."""
    attempts = Attempts(messaging.MessagingTimeout(), messaging.MessagingTimeout(), "answer")

    assert deliver(attempts, 8.0, 16.0, 60.0) == "answer"
    assert attempts.waits == [8.0, 16.0, 60.0]


@pytest.mark.parametrize(
    "error",
    [
        messaging.MessageDeliveryFailure("amqp://user:hush@host"),
        ConnectionRefusedError(111, "hush"),
        socket.gaierror(-2, "hush"),
        amqp.AccessRefused("hush"),
        OperationalError("hush"),
        messaging.MessagingException("hush"),
    ],
)
def test_a_broker_that_is_away_is_not_the_receivers_fault(error):
    """It is the control plane that is waited for; the text may hold what is in a URL."""
    attempts = Attempts(error)

    with pytest.raises(ControlPlaneUnavailable, match="prep_resize") as caught:
        deliver(attempts, 8.0, 60.0)

    assert "hush" not in str(caught.value)
    assert len(attempts.waits) == 1  # repeating that is up to the engine


def test_a_message_without_a_queue_is_sent_again(clock):
    """The receiver declares its queue a moment after the broker is back."""
    assert deliver(Attempts(UNROUTED, UNROUTED, "answer"), clock=clock) == "answer"
    assert clock.now == 2 * sending.UNROUTED_PAUSE


@pytest.mark.parametrize(("wait", "limit"), [(60.0, 10.0), (None, 10.0), (3.0, 3.0)])
def test_a_receiver_that_never_gets_a_queue(clock, wait, limit):
    """Nobody waits longer for it than for an answer."""
    with pytest.raises(PeerUnavailable, match="host two has no queue on the message broker"):
        deliver(Attempts(UNROUTED), wait, clock=clock)

    assert limit - sending.UNROUTED_PAUSE <= clock.now <= limit


@pytest.mark.parametrize(
    ("answers", "asked_before"),
    [
        ((), False),
        ((messaging.MessagingTimeout(),), True),
        ((UNROUTED,), True),
    ],
    ids=["at once", "after silence", "after a return"],
)
def test_an_unexpected_state_tells_whether_it_may_be_our_own(answers, asked_before):
    """Who saves must know that an attempt without an answer may have been carried out."""
    refused = messaging.RemoteError("UnexpectedTaskStateError", "task_state is None")

    with pytest.raises(UnexpectedTaskState) as caught:
        deliver(Attempts(*answers, refused), 8.0, 60.0)

    assert caught.value.asked_before is asked_before
    assert UnexpectedTaskState("of this host").asked_before is False


@pytest.mark.parametrize("kind", [OSError, KeyError, NotImplementedError])
def test_pythons_own_exceptions_of_the_receiver(kind):
    """oslo.messaging raises them as they are, with the traceback in their text."""
    remote = kind("no room\nTraceback (most recent call last): hush")

    with pytest.raises(RemoteFailure, match="no room") as caught:
        deliver(Attempts(remote))

    assert caught.value.exc_type == kind.__name__
    assert "hush" not in str(caught.value)


def test_an_error_of_our_own_stays_what_it_is():
    """A bug is not a remote failure."""
    with pytest.raises(KeyError):
        deliver(Attempts(KeyError("here")))
