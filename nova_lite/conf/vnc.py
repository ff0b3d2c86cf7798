"""Options of [vnc]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "vnc"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=True,
        deprecated_group="DEFAULT",
        deprecated_name="vnc_enabled",
        help="Whether guests have a VNC console.",
    ),
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
        default="http://127.0.0.1:6080/vnc_auto.html",
        deprecated_group="DEFAULT",
        help="URL of the noVNC proxy as users reach it.",
    ),
]
