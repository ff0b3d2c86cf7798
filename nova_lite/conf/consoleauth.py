"""Options of [consoleauth]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "consoleauth"

OPTS: list[cfg.Opt] = [
    cfg.IntOpt("token_ttl", default=600, min=0, help="Seconds a console token is valid."),
]
