"""Options of [neutron]."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "neutron"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "ovs_bridge",
        default="br-int",
        help="Integration bridge, where Neutron names none in a port's binding details.",
    ),
    cfg.IntOpt(
        "http_retries",
        default=3,
        min=0,
        help="How often a call that failed to connect, or met 503, is repeated.",
    ),
]


def sample_opts() -> list[cfg.Opt]:
    """Credentials and endpoint, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts("network")
