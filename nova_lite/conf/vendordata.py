"""Options of [vendordata_dynamic_auth]: who the agent is to the operator's own REST services."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "vendordata_dynamic_auth"

OPTS: list[cfg.Opt] = []


def sample_opts() -> list[cfg.Opt]:
    """Credentials, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts()
