"""Capacity options of [DEFAULT]: allocation ratios and what the host keeps for itself."""

from __future__ import annotations

from oslo_config import cfg

GROUP = None

OPTS: list[cfg.Opt] = []
