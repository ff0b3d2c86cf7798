"""Options of [glance]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "glance"

OPTS: list[cfg.Opt] = []
