"""Options of [placement]: keystoneauth's, registered by ``clients.session`` at the first use."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "placement"

OPTS: list[cfg.Opt] = []


def sample_opts() -> list[cfg.Opt]:
    """Credentials and endpoint, shown in the sample configuration."""
    return keystone.sample_opts("placement")
