"""The RPC servers on the topics ``compute`` and ``compute-alt``.

oslo.messaging's own RPC server acknowledges a message before it is looked at, so a process killed
then has lost it. Here the intent of an operation is on disk before the broker may forget it.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any

import oslo_messaging as messaging
from oslo_messaging.server import MessageHandlingServer

from nova_lite.engine.queues import Pool
from nova_lite.errors import ControlPlaneUnavailable, InvalidConfiguration, NovaLiteError
from nova_lite.rpc import listener
from nova_lite.rpc.callers import KEPT_S, is_call
from nova_lite.rpc.dispatch import Dispatcher, NotNow
from nova_lite.wire import exceptions
from nova_lite.wire.outgoing import Outgoing

LOG = logging.getLogger(__name__)


class ComputeServer(MessageHandlingServer):
    """Receives messages for one topic and this host.

    They are handled by ``pool``, whose threads end when there is nothing to do; oslo.messaging's
    own executor would keep as many as there ever were messages. Operations run elsewhere.
    """

    def __init__(
        self,
        transport: Any,
        topic: str,
        host: str,
        dispatcher: Dispatcher,
        pool: Pool,
        outgoing: Outgoing | None = None,
    ) -> None:
        """:param outgoing: knows what callers know; default: as the oldest release"""
        super().__init__(transport, dispatcher)
        self._outgoing = outgoing or Outgoing()
        self._target = messaging.Target(topic=topic, server=host)
        self._pool = pool

    def listen(self) -> None:
        """Start to receive.

        :raises InvalidConfiguration: the broker has these queues with other properties
        :raises ControlPlaneUnavailable: it is away
        """
        self.start(override_pool_size=1)  # its executor stays without a thread

    def _on_incoming(self, incoming: Any) -> None:
        self._pool.submit("a message", lambda: self._process_incoming(incoming))

    def _create_listener(self) -> Any:
        try:
            return listener.listen(self.transport, self._target)
        except messaging.MessageDeliveryFailure as error:
            raise _not_listening(self._target.topic, str(error)) from None

    def _process_incoming(self, incoming: Any) -> None:
        message = incoming[0]
        reply, error = None, None
        try:
            reply = self.dispatcher.dispatch(message)
        except Exception as raised:
            error = raised
        if isinstance(reply, Future):
            reply.add_done_callback(lambda done: self._answer_later(message, done))
            return
        message.acknowledge()  # whatever happened: else the broker sends it again for ever
        self._answer(message, reply, error)

    def _answer_later(self, message: Any, done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, NotNow):
            LOG.info("Left %s with the broker", message.message.get("method"))
            return
        assert error is None or isinstance(error, Exception)
        # A process that is killed here answers twice, which no caller minds, rather than never.
        self._answer(message, None if error else done.result(), error)
        message.acknowledge()

    def _answer(self, message: Any, reply: Any, error: Exception | None) -> None:
        if not is_call(message):
            return
        try:
            reply = self._outgoing.fitting(reply)
        except NovaLiteError as unknown:
            error = error or unknown
        try:
            if error is None:
                message.reply(reply)
            else:
                wire_error = exceptions.outgoing(error).with_traceback(None)
                message.reply(failure=(type(wire_error), wire_error, None))
        except Exception:
            LOG.exception("Could not answer %s; the caller will time out",
                          message.message.get("method"))  # fmt: skip


def _not_listening(topic: str, problem: str) -> NovaLiteError:
    if "PRECONDITION_FAILED" in problem:
        reason = problem.partition("PRECONDITION_FAILED")[2].strip(" -")
        return InvalidConfiguration(
            f"the broker has queues or exchanges of {topic} with other properties ({reason}): set "
            "the options of [oslo_messaging_rabbit] to those of the other nova services"
        )
    return ControlPlaneUnavailable(f"cannot receive messages for {topic}: {problem}")


class CallMonitor:
    """Tells a caller that set ``call_monitor_timeout`` that its call is still being worked on, and
    acknowledges the message of one that takes too long for the broker to wait."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self._done = threading.Event()
        interval = float(message.client_timeout or 0) / 2
        self._interval = interval if interval >= 1 else 0.0

    def __enter__(self) -> None:
        if is_call(self._message):
            threading.Thread(target=self._watch, daemon=True, name="call-monitor").start()

    def __exit__(self, *unused: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        kept_until = time.monotonic() + KEPT_S
        while not self._done.wait(self._interval or KEPT_S):
            if time.monotonic() >= kept_until:
                self._message.acknowledge()
            if self._interval:
                self._beat()

    def _beat(self) -> None:
        try:
            self._message.heartbeat()
        except Exception as error:
            LOG.debug("A caller was not told that its call is worked on: %s", error)
