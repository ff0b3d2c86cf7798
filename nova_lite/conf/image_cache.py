"""Options of [image_cache]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "image_cache"

OPTS: list[cfg.Opt] = []
