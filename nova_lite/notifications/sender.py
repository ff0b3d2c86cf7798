"""From payloads to oslo.messaging, beside the work that they tell of."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

GROUP = "oslo_messaging_notifications"
PATIENCE = 1.0  # seconds that an operation waits for its notification to be on its way
ROOM = 1000  # notifications kept while the broker is away; what comes then is dropped
GOODBYE = 3.0  # seconds to send what is left when the agent stops

# What of a context is told: whose request it is, never the token.
_TOLD = (
    "user", "user_id", "user_name", "user_domain", "user_identity", "project", "project_id",
    "project_name", "project_domain", "domain", "system_scope", "is_admin", "is_admin_project",
    "read_only", "show_deleted", "read_deleted", "request_id", "global_request_id",
    "resource_uuid", "roles", "timestamp",
)  # fmt: skip
_UNTOLD: dict[str, Any] = {
    "auth_token": None,
    "remote_address": None,
    "quota_class": None,
    "service_catalog": [],
}


def drivers(conf: Any) -> list[str]:
    """Names of the drivers that [oslo_messaging_notifications] asks for and that do something."""
    from oslo_messaging.notify import notifier

    conf.register_opts(notifier._notifier_opts, group=GROUP)
    return [name for name in conf[GROUP].driver if name and name != "noop"]


class SafeContext:
    """The part of a request's context that a notification may carry."""

    def __init__(self, context: RequestContext) -> None:
        self.fields = {name: context.fields.get(name) for name in _TOLD} | _UNTOLD

    def redacted_copy(self) -> SafeContext:
        """oslo.messaging asks for this before it sends."""
        return self


class Sender:
    """Sends in a thread of its own, in order.

    :param jobs: how many notifications may wait

    A broker that takes nothing costs the first operation ``PATIENCE`` seconds and the others
    nothing, until it takes them again.
    """

    def __init__(self, room: int = ROOM, patience: float = PATIENCE) -> None:
        self._jobs: queue.Queue[tuple[Callable[[], None], threading.Event]] = queue.Queue(room)
        self._patience = patience
        self._late = False
        threading.Thread(target=self._run, name="notifications", daemon=True).start()

    def put(self, job: Callable[[], None]) -> None:
        """Have ``job`` done after those before it, and give it a moment; raises nothing."""
        sent = threading.Event()
        try:
            self._jobs.put_nowait((job, sent))
        except queue.Full:
            return
        if not self._late and not sent.wait(self._patience):
            self._late = True
            LOG.warning("Notifications are not taken by the broker; up to %d wait for it",
                        self._jobs.maxsize)  # fmt: skip

    def close(self) -> None:
        """Give what is left a moment to be sent."""
        sent = threading.Event()
        try:
            self._jobs.put_nowait((lambda: None, sent))
        except queue.Full:
            return
        sent.wait(0.0 if self._late else GOODBYE)

    def _run(self) -> None:
        while True:
            job, sent = self._jobs.get()
            try:
                job()
            except Exception:
                LOG.exception("A notification was not sent")
            sent.set()
            if self._late and self._jobs.empty():
                self._late = False
                LOG.info("Notifications are taken again")


class Topics:
    """oslo.messaging's notifiers for the two forms.

    :raises InvalidConfiguration: [oslo_messaging_notifications]transport_url cannot be used
    """

    def __init__(self, conf: Any) -> None:
        import oslo_messaging as messaging

        try:
            transport = messaging.get_notification_transport(conf)
        except (messaging.DriverLoadFailure, messaging.InvalidTransportURL, ValueError):
            # Their text could be a part of the URL, and of the password.
            raise InvalidConfiguration(
                f"[{GROUP}]transport_url cannot be used; it is like that of [DEFAULT]"
            ) from None
        self._transport = transport
        serializer = _serializer()
        self.legacy = self.versioned = None
        form = conf.notifications.notification_format
        if form in ("unversioned", "both"):
            self.legacy = messaging.Notifier(
                transport, publisher_id=f"compute.{conf.host}", serializer=serializer
            )
        if form in ("versioned", "both"):
            self.versioned = messaging.Notifier(
                transport,
                publisher_id=f"nova-compute:{conf.host}",
                serializer=serializer,
                topics=conf.notifications.versioned_notifications_topics,
            )

    def close(self) -> None:
        self._transport.cleanup()


def _serializer() -> Any:
    from oslo_messaging import serializer

    class ContextSerializer(serializer.NoOpSerializer):
        def serialize_context(self, ctxt: Any) -> dict[str, Any]:
            return dict(ctxt.fields)

    return ContextSerializer()
