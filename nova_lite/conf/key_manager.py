"""Options of [key_manager]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "key_manager"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "backend",
        default="barbican",
        deprecated_name="api_class",
        help="Where the keys of encrypted volumes are: barbican or vault, each with a group of its "
        "own for castellan, or nova.keymgr.conf_key_mgr.ConfKeyManager for fixed_key alone.",
    ),
    cfg.StrOpt(
        "fixed_key",
        secret=True,
        deprecated_group="keymgr",
        help="The key, in hex, of volumes that Cinder has encrypted with its own fixed_key.",
    ),
]
