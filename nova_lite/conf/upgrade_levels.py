"""Options of [upgrade_levels]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "upgrade_levels"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "compute",
        help="Highest version of the compute RPC API in which other compute hosts are spoken to: a "
        "version such as 6.4, the name of a release in lower case, such as epoxy, or auto. What "
        "the service version of the other host allows is never exceeded, so auto and no value mean "
        "the same here.",
    ),
]
