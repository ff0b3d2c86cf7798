"""Requests about the host itself."""

from __future__ import annotations

from typing import Any

from nova_lite import errors
from nova_lite.inventory.node import read_uptime
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext


class Host:
    """Answers what is asked of the host, whatever runs on it."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def set_host_enabled(self, context: RequestContext, enabled: bool, **_ignored: Any) -> str:
        """Tell Placement whether the scheduler may use this host; ``enabled`` or ``disabled``."""
        self._tools.set_disabled(not enabled)
        return "enabled" if enabled else "disabled"

    def get_host_uptime(self, context: RequestContext, **_ignored: Any) -> str:
        """A line as uptime(1) prints it, which ``openstack hypervisor show`` takes apart.

        :raises HypervisorError: /proc has no uptime
        """
        uptime = read_uptime()
        if not uptime:
            raise errors.HypervisorError("the uptime of this host is unknown: check /proc/uptime")
        return uptime
