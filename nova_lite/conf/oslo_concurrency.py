"""Options of [oslo_concurrency], a group that belongs to the library of that name."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "oslo_concurrency"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "lock_path",
        help="Directory of the lock files by which services of this host that attach volumes wait "
        "for each other; without it, one below state_path, which no other service looks at.",
    ),
]
