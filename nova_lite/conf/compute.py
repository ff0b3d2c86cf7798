"""Options of [compute]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "compute"

OPTS: list[cfg.Opt] = []
