"""Options of [service_user]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "service_user"

OPTS: list[cfg.Opt] = []
