"""Options of [neutron]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "neutron"

OPTS: list[cfg.Opt] = []
