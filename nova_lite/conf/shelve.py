"""Options of [DEFAULT] about shelved servers."""

from __future__ import annotations

from oslo_config import cfg

GROUP = None

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "shelved_offload_time",
        default=0,
        min=-1,
        help="Seconds that a shelved server stays on its host; 0: it leaves at once, -1: it stays "
        "until it is offloaded or unshelved by request.",
    ),
    cfg.IntOpt(
        "shelved_poll_interval",
        default=3600,
        help="Seconds between two looks for servers that were shelved long enough; <0: never. "
        "Only with shelved_offload_time > 0.",
    ),
]
