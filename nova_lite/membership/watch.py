"""A control plane that becomes another release while this host runs."""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.conductor.services import Services
from nova_lite.membership import version
from nova_lite.wire.context import RequestContext
from nova_lite.wire.outgoing import Outgoing

LOG = logging.getLogger(__name__)


class ControlPlaneWatch:
    """Looks at the records of nova-conductor and takes over what they say, without a restart.

    The oldest one decides: as long as it is there it may get what this host sends, and a control
    plane with ``[upgrade_levels]compute = auto`` cannot speak to hosts that all are newer than it.

    :param conf: a ConfigOpts
    :param outgoing: told which release messages are for
    :param reported: the service version that this host reports so far
    """

    INTERVAL_S = 120.0

    def __init__(self, conf: Any, services: Services, outgoing: Outgoing, reported: int) -> None:
        self._host = conf.host
        self._configured: int | None = conf.nova_lite.service_version
        self._services = services
        self._outgoing = outgoing
        self._reported = reported
        self._waiting = False  # for the last old conductor; said once

    def tick(self) -> None:
        """:raises ControlPlaneUnavailable: nobody answers; the next tick asks again"""
        context = RequestContext.admin()
        conductors = self._services.conductor_versions(context)
        if not conductors:
            return
        oldest, newest = conductors[0], conductors[-1]
        self._outgoing.learn(oldest)
        # Never less than before: the cloud refuses a host that is older than all others.
        wanted = version.choose(self._configured, oldest, self._reported)
        if wanted > self._reported:
            self._report(context, wanted)
        self._say(oldest, newest)

    def _report(self, context: RequestContext, wanted: int) -> None:
        # A record of its own: the heartbeat and others save theirs at the same time.
        service = self._services.of_host(context, self._host)
        if service is None:
            return  # the heartbeat tells of that
        self._services.save(context, service, version=wanted)
        LOG.info("The control plane was upgraded; this host reports service version %d, not %d any "
                 "more", wanted, self._reported)  # fmt: skip
        self._reported = wanted

    def _say(self, oldest: int, newest: int) -> None:
        mixed = version.choose(self._configured, newest, self._reported) > self._reported
        if mixed and not self._waiting:
            LOG.warning("There are nova-conductor services of versions %d to %d: this host goes on "
                        "reporting %d until the old ones are upgraded. If one is gone for good, "
                        "delete its record (openstack compute service delete)",
                        oldest, newest, self._reported)  # fmt: skip
        self._waiting = mixed
