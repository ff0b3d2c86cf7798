"""Options of [vnc]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "vnc"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt("enabled", default=True, help="Whether guests have a VNC console."),
    cfg.HostAddressOpt(
        "server_listen", default="127.0.0.1", help="Address on which guests' VNC servers listen."
    ),
    cfg.HostAddressOpt(
        "server_proxyclient_address",
        default="127.0.0.1",
        help="Address at which the console proxy reaches this host.",
    ),
    cfg.URIOpt(
        "novncproxy_base_url",
        default="http://127.0.0.1:6080/vnc_lite.html",
        help="URL of the noVNC proxy as users reach it.",
    ),
    cfg.ListOpt(
        "auth_schemes", default=["none"], help="Accepted and ignored; read by the console proxy."
    ),
]
