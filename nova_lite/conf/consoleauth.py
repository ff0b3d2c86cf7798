"""Options of [consoleauth]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "consoleauth"

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "token_ttl",
        default=600,
        min=0,
        deprecated_group="DEFAULT",
        deprecated_name="console_token_ttl",
        help="Seconds a console token is valid.",
    ),
]
