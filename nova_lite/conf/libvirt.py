"""Options of [libvirt]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "libvirt"

OPTS: list[cfg.Opt] = []
