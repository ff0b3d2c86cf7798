"""Options of [spice]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "spice"

_IMAGE = ("auto_glz", "auto_lz", "quic", "glz", "lz", "off")

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt("enabled", default=False, help="Whether guests have a SPICE console."),
    cfg.BoolOpt(
        "agent_enabled",
        default=True,
        help="Whether guests have a channel for the SPICE agent (clipboard, resolution, mouse).",
    ),
    cfg.StrOpt("image_compression", choices=_IMAGE, help="Lossless compression of images."),
    cfg.StrOpt(
        "jpeg_compression",
        choices=("auto", "never", "always"),
        help="Lossy compression of images for slow links.",
    ),
    cfg.StrOpt(
        "zlib_compression",
        choices=("auto", "never", "always"),
        help="Lossless compression of images for slow links.",
    ),
    cfg.BoolOpt("playback_compression", help="Whether the guest's sound is compressed."),
    cfg.StrOpt(
        "streaming_mode",
        choices=("filter", "all", "off"),
        help="What is taken for video and compressed as such.",
    ),
    cfg.URIOpt(
        "html5proxy_base_url",
        default="http://127.0.0.1:6082/spice_auto.html",
        help="URL of the SPICE HTML5 proxy as users reach it.",
    ),
    cfg.URIOpt(
        "spice_direct_proxy_base_url",
        default="http://127.0.0.1:13002/nova",
        help="URL of a proxy for native SPICE clients as users reach it.",
    ),
    cfg.StrOpt(
        "server_listen", default="127.0.0.1", help="Address on which guests' SPICE servers listen."
    ),
    cfg.StrOpt(
        "server_proxyclient_address",
        default="127.0.0.1",
        help="Address at which the console proxy reaches this host.",
    ),
    cfg.BoolOpt(
        "require_secure",
        default=False,
        help="Whether SPICE clients must use TLS; needs certificates on the host.",
    ),
]
