"""Options of [placement]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "placement"

OPTS: list[cfg.Opt] = []
