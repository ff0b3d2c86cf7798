"""Options of [workarounds]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "workarounds"

OPTS: list[cfg.Opt] = []
