"""Options of [serial_console]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "serial_console"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled", default=False, help="Whether guests have serial consoles for users to type on."
    ),
    cfg.StrOpt(
        "port_range",
        default="10000:20000",
        regex=r"^\d+:\d+$",
        help="TCP ports for guests' serial consoles, FIRST:END; END itself is not used.",
    ),
    cfg.URIOpt(
        "base_url",
        default="ws://127.0.0.1:6083/",
        help="URL of the serial console proxy as users reach it.",
    ),
    cfg.StrOpt(
        "proxyclient_address",
        default="127.0.0.1",
        help="Address on which the serial consoles listen and the proxy reaches them.",
    ),
]
