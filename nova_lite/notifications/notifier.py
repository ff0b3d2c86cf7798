"""Says what happens to the servers of this host, in the forms that nova.conf asks for."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nova_lite.failures import Failure
from nova_lite.notifications import legacy, periods, versioned
from nova_lite.notifications.sender import Sender, Topics, drivers, insists
from nova_lite.notifications.subject import Detail, Subject, Trouble
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

# Versioned action -> legacy one where they differ; None: there is no legacy notification.
LEGACY: dict[str, str | None] = {
    "interface_attach": None,
    "interface_detach": None,
    "volume_swap": None,
    "share_attach": None,
    "share_detach": None,
    "resize_prep": "resize.prep",
    "resize_finish": "finish_resize",
    "resize_confirm": "resize.confirm",
    "resize_revert": "resize.revert",
    "live_migration_pre": "live_migration.pre",
    "live_migration_post": "live_migration._post",
    "live_migration_post_dest": "live_migration.post.dest",
    "live_migration_rollback": "live_migration._rollback",
    "live_migration_rollback_dest": "live_migration.rollback.dest",
    "live_migration_abort": "live.migration.abort",
    "live_migration_force_complete": "live.migration.force.complete",
}
# Actions of which there are legacy notifications only.
UNVERSIONED = frozenset({"create_ip", "delete_ip"})
# Versioned actions of which a legacy notification tells only that they were done.
DONE = {"volume_attach": "volume.attach", "volume_detach": "volume.detach"}


class Notifier:
    """Notifications about servers. Nothing here fails, and nothing waits for long.

    ``on`` is false where nova.conf asks for none: then every method returns at once, and callers
    should not even gather what they would say.
    """

    def __init__(
        self,
        topics: Topics | None = None,
        sender: Sender | None = None,
        image_url: Callable[[RequestContext, str], str] = lambda context, image_id: image_id,
        *,
        audit_period: str = "month",
        with_mappings: bool = False,
        with_shares: bool = False,
    ) -> None:
        """
        :param topics: where to; None for nowhere
        :param sender: None with ``topics`` None
        :param image_url: the address of an image; may ask Keystone, so it is called while sending
        :param audit_period: [DEFAULT]instance_usage_audit_period
        :param with_mappings: [notifications]bdms_in_notifications
        :param with_shares: [notifications]include_share_mapping
        """
        self._topics = topics
        self._legacy = topics.legacy if topics is not None else None
        self._versioned = topics.versioned if topics is not None else None
        self._sender = sender
        self._image_url = image_url
        self._audit_period = audit_period
        self.with_mappings = with_mappings
        self.with_shares = with_shares

    @classmethod
    def from_conf(cls, conf: Any, image_url: Callable[[RequestContext, str], str]) -> Notifier:
        """As nova.conf says.

        :raises InvalidConfiguration: the transport makes no sense
        """
        if not drivers(conf):
            return cls()
        return cls(
            Topics(conf),
            Sender(insist=insists(conf)),
            image_url,
            audit_period=conf.instance_usage_audit_period,
            with_mappings=conf.notifications.bdms_in_notifications,
            with_shares=conf.notifications.include_share_mapping,
        )

    @property
    def on(self) -> bool:
        """Whether anything is sent at all."""
        return self._topics is not None

    def action(
        self,
        subject: Subject,
        action: str,
        phase: str,
        detail: Detail | None = None,
        failure: Failure | None = None,
    ) -> None:
        """Tell that an action on a server reached a phase.

        :param action: the versioned name, such as ``power_off``
        :param phase: ``start``, ``end`` or ``error``
        :param failure: why, with ``error``
        """
        detail = detail or Detail()
        name = LEGACY.get(action, action)
        if name is not None:
            self._put(
                self._legacy,
                subject.context,
                f"compute.instance.{name}.{phase}",
                lambda: legacy.server(subject, detail) | (legacy.fault(failure) if failure else {}),
                error=phase == "error",
            )
        if action in UNVERSIONED:
            return
        self._put(
            self._versioned,
            subject.context,
            f"instance.{action}.{phase}",
            lambda: versioned.action(subject, detail, failure),
            error=failure is not None,
        )

    def exists(self, subject: Subject, *, so_far: bool, **legacy_fields: Any) -> None:
        """Tell of a server for the usage audit.

        :param so_far: of the audit period that runs now, else of the last completed one
        :param legacy_fields: keys of the legacy payload that are not as the server has them
        """
        find = periods.current if so_far else periods.last_completed
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        period = find(self._audit_period, now)
        self._put(
            self._legacy,
            subject.context,
            "compute.instance.exists",
            lambda: legacy.exists(subject, period) | legacy_fields,
        )
        self._put(
            self._versioned,
            subject.context,
            "instance.exists",
            lambda: versioned.exists(subject, period),
        )

    def exception(self, context: RequestContext, trouble: Trouble) -> None:
        """Tell that an RPC method failed."""
        self._put(
            self._legacy, context, trouble.method, lambda: legacy.exception(trouble), error=True
        )
        self._put(
            self._versioned,
            context,
            "compute.exception",
            lambda: versioned.fault(trouble.failure),
            error=True,
        )

    def volume_usage(self, context: RequestContext, used: Mapping[str, Any]) -> None:
        """Tell how much a volume was read and written: the versioned payload's fields."""
        for notifier, form in ((self._legacy, legacy), (self._versioned, versioned)):
            self._put(notifier, context, "volume.usage", partial(form.volume_usage, used))

    def libvirt_error(self, address: str, failure: Failure) -> None:
        """Tell that this host, known as ``address``, has lost its hypervisor."""
        context = RequestContext.admin()
        said = {"ip": address, "method": "_connect", "reason": failure.message}
        self._put(self._legacy, context, "compute.libvirt.error", lambda: said, error=True)
        self._put(
            self._versioned,
            context,
            "libvirt.connect.error",
            lambda: versioned.libvirt_error(address, failure),
            error=True,
        )

    def close(self) -> None:
        """Send what is left, if that takes no time."""
        if self._sender is not None and self._topics is not None:
            self._sender.close()
            self._topics.close()

    def _put(
        self,
        notifier: Any,
        context: RequestContext,
        event_type: str,
        build: Callable[[], dict[str, Any]],
        *,
        error: bool = False,
    ) -> None:
        """Have a notification sent; ``notifier`` is None for a form that nobody wants."""
        if notifier is None:
            return
        topics, sender = self._topics, self._sender
        assert topics is not None and sender is not None
        try:
            payload = build()
        except Exception:
            LOG.exception("There is no notification %s", event_type)
            return

        def send() -> None:
            image = payload.get("image_ref_url")
            if image and "/" not in image:
                payload["image_ref_url"] = self._image_url(context, image)
            topics.send(notifier, context, event_type, payload, error=error)

        sender.put(send)


def _legacy_name(action: str, phase: str) -> str | None:
    """What legacy notifications call a phase of an action; None where there is none of it."""
    if action in DONE:
        return DONE[action] if phase == "end" else None
    name = LEGACY.get(action, action)
    return f"{name}.{phase}" if name is not None else None
