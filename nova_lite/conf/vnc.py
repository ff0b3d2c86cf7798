"""Options of [vnc]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "vnc"

OPTS: list[cfg.Opt] = []
