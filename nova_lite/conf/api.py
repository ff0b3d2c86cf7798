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
        help="Sources of vendor data; only StaticJSON goes onto config drives.",
    ),
    cfg.StrOpt("vendordata_jsonfile_path", help="File with the vendor data of StaticJSON."),
]
