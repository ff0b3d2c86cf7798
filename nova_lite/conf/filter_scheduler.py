"""What hosts tell nova-scheduler, [filter_scheduler]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "filter_scheduler"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "track_instance_changes",
        default=True,
        help="Tell the schedulers which servers are on this host, as their affinity filters want "
        "to know. Off: they read it from the database, if the same is set for them.",
    ),
]
