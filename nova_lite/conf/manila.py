"""Options of [manila]."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "manila"

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "share_apply_policy_timeout",
        default=10,
        min=0,
        help="Seconds that a share may take to let this host at it; 0 does not wait for that.",
    ),
]


def sample_opts() -> list[cfg.Opt]:
    """Credentials and endpoint, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts("shared-file-system")
