"""Options of [api] that shape what guests are told."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "api"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt("dhcp_domain", default="novalocal", help="Domain of servers' host names."),
    cfg.StrOpt(
        "config_drive_skip_versions",
        default="1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01",
        help="EC2 metadata versions left out of config drives.",
    ),
    cfg.ListOpt(
        "vendordata_providers",
        default=["StaticJSON"],
        help="Sources of vendor data on config drives: StaticJSON, DynamicJSON.",
    ),
    cfg.StrOpt("vendordata_jsonfile_path", help="File with the vendor data of StaticJSON."),
    cfg.ListOpt(
        "vendordata_dynamic_targets",
        default=[],
        help="REST services of DynamicJSON, each as NAME@URL.",
    ),
    cfg.StrOpt(
        "vendordata_dynamic_ssl_certfile",
        default="",
        help="Certificates by which those services are trusted; empty: the system's.",
    ),
    cfg.IntOpt(
        "vendordata_dynamic_connect_timeout",
        default=5,
        min=3,
        help="Seconds in which such a service must accept the connection.",
    ),
    cfg.IntOpt(
        "vendordata_dynamic_read_timeout",
        default=5,
        min=0,
        help="Seconds in which it must answer.",
    ),
    cfg.BoolOpt(
        "vendordata_dynamic_failure_fatal",
        default=False,
        help="Whether a server is not built when one of them gives no answer.",
    ),
]
