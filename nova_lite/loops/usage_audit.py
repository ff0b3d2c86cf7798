"""The usage audit: after each audit period, one ``exists`` notification for each server.

The cloud keeps a record of each host's audits (``nova instance-usage-audit-log``), so an agent that
was down at the end of a period makes up for it when it is back. An audit that was cut off is done
again from the start: readers know a server's notification by server and period.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

from nova_lite.conductor.instances import Instances
from nova_lite.conductor.records import BlockDevices, ShareMappings, TaskLogs
from nova_lite.errors import NovaLiteError
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.periods import Period, last_completed
from nova_lite.notifications.subject import Subject
from nova_lite.wire import decode, network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

TASK = "instance_usage_audit"
DONE = "DONE"


class UsageAudit:
    """``setting`` is [DEFAULT]instance_usage_audit_period; ``name_template`` names domains."""

    def __init__(
        self,
        host: str,
        setting: str,
        name_template: str,
        *,
        notifier: Notifier,
        instances: Instances,
        block_devices: BlockDevices,
        share_mappings: ShareMappings,
        logs: TaskLogs,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._host = host
        self._setting = setting
        self._name_template = name_template
        self._notifier = notifier
        self._instances = instances
        self._block_devices = block_devices
        self._share_mappings = share_mappings
        self._logs = logs
        self._now = now
        self._done: Period | None = None

    def tick(self) -> None:
        """Audit the last completed period, unless that was done; asks nobody when it was done here.

        :raises ControlPlaneUnavailable: it is tried again at the next tick
        """
        period = last_completed(self._setting, self._now().replace(tzinfo=None))
        if period == self._done:
            return
        context = RequestContext.admin()
        log = self._logs.find(context, TASK, self._host, period.beginning, period.ending)
        if log is None or log.get("state") != DONE:
            self._audit(context, period, log)
        self._done = period

    def _audit(self, context: RequestContext, period: Period, log: WireObject | None) -> None:
        began = time.monotonic()
        servers = self._instances.active_in(context, self._host, period.beginning, period.ending)
        LOG.info("Usage audit of %s to %s: %d servers", *period, len(servers))
        if log is None:
            log = self._logs.begin(
                context, TASK, self._host, period.beginning, period.ending, len(servers)
            )
        errors = sum(not self._told(context, server) for server in servers)
        self._logs.end(
            context,
            log,
            errors,
            f"Instance usage audit ran for host {self._host}, {len(servers)} instances in "
            f"{time.monotonic() - began:.1f} seconds.",
        )

    def _told(self, context: RequestContext, server: WireObject) -> bool:
        """Whether it worked; one server that cannot be told of does not stop the others."""
        if not self._notifier.on:
            return True
        try:
            self._notifier.exists(self._subject(context, server), so_far=False)
        except NovaLiteError as error:
            LOG.error("No usage audit of server %s: %s", server["uuid"], error)
            return False
        return True

    def _subject(self, context: RequestContext, server: WireObject) -> Subject:
        mappings = None
        if self._notifier.with_mappings:
            mappings = self._block_devices.of_server(context, str(server["uuid"]))
        shares = None
        if self._notifier.with_shares:
            shares = self._share_mappings.of_server(context, str(server["uuid"]))
        return Subject(
            context,
            server,
            decode.domain_name(server, self._name_template),
            vifs=network_info.cached(server),
            mappings=mappings,
            shares=shares,
        )
