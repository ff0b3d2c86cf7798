"""Requests about the host itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import HypervisorError
from nova_lite.handlers import host
from nova_lite.wire.context import RequestContext


def test_uptime_is_the_line_of_uptime() -> None:
    """openstackclient takes it apart by these words."""
    tools: Any = SimpleNamespace()

    line = host.Host(tools).get_host_uptime(RequestContext.admin())

    assert " up " in line
    assert ",  load average: " in line


def test_a_host_without_uptime_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty answer would be taken apart as well."""
    monkeypatch.setattr(host, "read_uptime", lambda: "")
    tools: Any = SimpleNamespace()

    with pytest.raises(HypervisorError, match="/proc/uptime"):
        host.Host(tools).get_host_uptime(RequestContext.admin())
