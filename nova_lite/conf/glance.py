"""Options of [glance]."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "glance"

OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "api_servers",
        help="URLs of image services, tried one after the other. Unset (better): the endpoint in "
        "the service catalog.",
    ),
    cfg.IntOpt(
        "num_retries",
        default=3,
        min=0,
        help="How often a call or a broken download is repeated, at the next server if there are "
        "several. A download goes on where it broke off.",
    ),
    cfg.BoolOpt(
        "verify_glance_signatures",
        default=False,
        help="Verify signatures of images. Not supported: the agent refuses to start with it.",
    ),
    cfg.BoolOpt(
        "enable_certificate_validation",
        default=False,
        help="Accept signatures of images only by trusted certificates. Not supported: the agent "
        "refuses to start with it if default_trusted_certificate_ids names any.",
    ),
    cfg.ListOpt(
        "default_trusted_certificate_ids",
        default=[],
        help="Certificates that are trusted where the user names none, for "
        "enable_certificate_validation.",
    ),
]


def sample_opts() -> list[cfg.Opt]:
    """Credentials and endpoint, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts("image")
