"""Options of [cinder]."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "cinder"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "catalog_info",
        default="volumev3::publicURL",
        regex=r"^[\w-]+:\w*:.*$",
        help="Where the service catalog has the volume service: type:name:interface, the name may "
        "be left out.",
    ),
    cfg.StrOpt(
        "endpoint_template",
        help="Address of the volume service in place of the catalog's, such as "
        "http://cinder.example.org:8776/v3; %(project_id)s and other fields of a request may "
        "stand in it.",
    ),
    cfg.StrOpt("os_region_name", help="Region whose volume service is used."),
    cfg.IntOpt(
        "http_retries",
        default=3,
        min=0,
        help="How often a call that failed to connect, or met 503, is repeated.",
    ),
    cfg.BoolOpt(
        "cross_az_attach",
        default=True,
        help="Let servers have volumes of other availability zones.",
    ),
    cfg.BoolOpt("debug", default=False, help="Log the calls to the volume service and os-brick."),
]


def sample_opts() -> list[cfg.Opt]:
    """Credentials and endpoint, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts("block-storage")
