"""Requests about the host itself."""

from __future__ import annotations

import subprocess
from typing import Any

from nova_lite import errors
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

TRAIT = "COMPUTE_STATUS_DISABLED"


class Host:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def set_host_enabled(self, context: RequestContext, enabled: bool, **_ignored: Any) -> str:
        """Tell Placement whether the scheduler may use this host; ``enabled`` or ``disabled``."""
        self._tools.set_disabled(not enabled)
        return "enabled" if enabled else "disabled"

    def get_host_uptime(self, context: RequestContext, **_ignored: Any) -> str:
        """Output of ``uptime``, which ``openstack hypervisor show`` takes apart."""
        try:
            return subprocess.run(
                ["uptime"], capture_output=True, text=True, timeout=10, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise errors.HypervisorError(f"uptime failed: {error}") from error
