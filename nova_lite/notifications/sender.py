"""From payloads to oslo.messaging, beside the work that they tell of."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

GROUP = "oslo_messaging_notifications"
PATIENCE = 1.0  # seconds that an operation waits for its notification to be on its way
ROOM = 1000  # notifications kept while the broker is away; what comes then is dropped
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0  # seconds between two attempts to send
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


def insists(conf: Any) -> bool:
    """Whether what the broker does not take is tried again and again."""
    return bool(conf[GROUP].retry < 0)


class SafeContext:
    """The part of a request's context that a notification may carry."""

    def __init__(self, context: RequestContext) -> None:
        self.fields = {name: context.fields.get(name) for name in _TOLD} | _UNTOLD

    def redacted_copy(self) -> SafeContext:
        """oslo.messaging asks for this before it sends."""
        return self


class NotTaken(Exception):
    """The broker did not take a notification; the text says why."""


class Sender:
    """Sends in a thread of its own, in order.

    A broker that takes nothing costs the first operation ``patience`` seconds and the others
    nothing, and all of them one line in the log, until it takes notifications again.
    """

    def __init__(
        self, room: int = ROOM, patience: float = PATIENCE, *, insist: bool = True
    ) -> None:
        """
        :param room: how many notifications may wait; what comes then is dropped
        :param patience: how long an operation waits for its notification to be taken, seconds
        :param insist: try again what was not taken, else drop it
        """
        self._jobs: queue.Queue[tuple[Callable[[], None], threading.Event]] = queue.Queue(room)
        self._patience = patience
        self._insist = insist
        self._late = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="notifications", daemon=True).start()

    def put(self, job: Callable[[], None]) -> None:
        """Have ``job`` done after those before it, and give it a moment; raises nothing.

        :param job: raises NotTaken to be asked again
        """
        sent = threading.Event()
        try:
            self._jobs.put_nowait((job, sent))
        except queue.Full:
            return
        if not self._late and not sent.wait(self._patience):
            self._be_late("it does not answer")

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
            taken = self._send(job)
            sent.set()
            if taken and self._late and self._jobs.empty():
                self._late = False
                LOG.info("Notifications are taken again")

    def _send(self, job: Callable[[], None]) -> bool:
        """Whether it was taken in the end."""
        pause = FIRST_PAUSE
        while True:
            try:
                job()
                return True
            except NotTaken as reason:
                self._be_late(str(reason))
            except Exception:
                LOG.exception("A notification was not sent")
                return True
            if not self._insist:
                return False
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _be_late(self, reason: str) -> None:
        with self._lock:
            if self._late:
                return
            self._late = True
        fate = f"up to {self._jobs.maxsize} wait for it" if self._insist else "they are dropped"
        LOG.warning("The broker does not take notifications (%s); %s", reason, fate)


class _Losses(logging.Filter):
    """What oslo.messaging could not send: it only writes a log record, with the whole payload."""

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the reason instead of the record."""
        error = record.exc_info[1] if record.exc_info else None
        self.reason = f"{type(error).__name__}: {error}" if error else record.msg
        return False


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
        self._losses = _Losses()
        logging.getLogger("oslo_messaging.notify.messaging").addFilter(self._losses)
        # Without a limit it would be tried in there for ever; the sender does that.
        limit = max(conf[GROUP].retry, 0)
        serializer = _serializer()
        self.legacy = self.versioned = None
        form = conf.notifications.notification_format
        if form in ("unversioned", "both"):
            self.legacy = messaging.Notifier(
                transport,
                publisher_id=f"compute.{conf.host}",
                serializer=serializer,
                retry=limit,
            )
        if form in ("versioned", "both"):
            self.versioned = messaging.Notifier(
                transport,
                publisher_id=f"nova-compute:{conf.host}",
                serializer=serializer,
                retry=limit,
                topics=conf.notifications.versioned_notifications_topics,
            )

    def send(
        self, notifier: Any, context: RequestContext, event_type: str, payload: Any, *, error: bool
    ) -> None:
        """Hand a notification to the broker.

        :param notifier: ``legacy`` or ``versioned``
        :param error: of priority ERROR, else INFO
        :raises NotTaken: it is not there
        """
        self._losses.reason = None
        (notifier.error if error else notifier.info)(SafeContext(context), event_type, payload)
        if self._losses.reason is not None:
            raise NotTaken(self._losses.reason)

    def close(self) -> None:
        self._transport.cleanup()


def _serializer() -> Any:
    from oslo_messaging import serializer

    class ContextSerializer(serializer.NoOpSerializer):
        def serialize_context(self, ctxt: Any) -> dict[str, Any]:
            return dict(ctxt.fields)

    return ContextSerializer()
