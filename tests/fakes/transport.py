"""An RPC transport that keeps what is sent and answers what a test says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oslo_config import cfg
from oslo_messaging.transport import RPCTransport

from nova_lite.rpc import transport
from nova_lite.wire.releases import OLDEST, Release
from tests.fakes.outgoing import too_new


@dataclass
class Sent:
    """One message as it was handed to the driver."""

    topic: str
    server: str | None
    message: dict[str, Any]
    call: bool
    timeout: float | None
    monitor: float | None
    mandatory: bool


class FakeTransport(RPCTransport):
    """``answers``: results, exceptions to raise or functions of a Sent, one for each message; then
    None. ``sent`` has the messages. ``release``: of the control plane, which must know what they
    have."""

    def __init__(
        self,
        conf: cfg.ConfigOpts | None = None,
        answers: tuple[Any, ...] = (),
        release: Release = OLDEST,
    ) -> None:
        self.release = release
        self.conf = conf or cfg.ConfigOpts()
        if conf is None:
            self.conf([])
        transport._register_hidden_options(self.conf)
        self.answers = list(answers)
        self.sent: list[Sent] = []

    def _require_driver_features(self, requeue: bool = False) -> None:
        pass

    def _send(
        self, target, ctxt, message, wait_for_reply=None, timeout=None,
        call_monitor_timeout=None, retry=None, transport_options=None,
    ):  # fmt: skip
        sent = Sent(
            target.topic, target.server, message, bool(wait_for_reply), timeout,
            call_monitor_timeout, bool(transport_options and transport_options.at_least_once),
        )  # fmt: skip
        assert not too_new(message["args"], self.release.name)
        self.sent.append(sent)
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer) and not isinstance(answer, type):
            answer = answer(sent)
        if isinstance(answer, Exception):
            raise answer
        return answer
