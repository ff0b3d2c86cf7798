"""Options read from a nova.conf that a test writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oslo_config import cfg

from nova_lite import conf as nova_lite_conf


def read_conf(folder: Path, groups: Mapping[str, Mapping[str, str]]) -> cfg.ConfigOpts:
    """Write nova.conf into ``folder`` and read it with all the agent's options registered."""
    text = "\n".join(
        f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in options.items())
        for group, options in groups.items()
    )
    path = folder / "nova.conf"
    path.write_text(text)
    conf = cfg.ConfigOpts()
    nova_lite_conf.register_opts(conf)
    conf(["--config-file", str(path)])
    # Not the host's own.
    conf.set_default("runtime_path", str(folder / "run"), group="nova_lite")
    return conf
