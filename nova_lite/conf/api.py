"""Options of [api] that shape the metadata on a config drive."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "api"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "dhcp_domain",
        default="novalocal",
        help="Domain appended to a server's host name; empty: none.",
    ),
    cfg.StrOpt(
        "config_drive_skip_versions",
        default="1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01",
        help="EC2 metadata versions left out of config drives, separated by spaces.",
    ),
    cfg.ListOpt(
        "vendordata_providers",
        item_type=cfg.types.String(choices=["StaticJSON", "DynamicJSON"]),
        default=["StaticJSON"],
        help="Where vendor data comes from: a file (StaticJSON), REST services (DynamicJSON).",
    ),
    cfg.StrOpt("vendordata_jsonfile_path", help="JSON file with the static vendor data."),
]
