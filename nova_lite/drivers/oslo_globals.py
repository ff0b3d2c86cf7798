"""What os-vif, os-brick and oslo.privsep keep once per process, set up in one place."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_lock = threading.Lock()
_files: tuple[list[str], list[str]] | None = None  # those that the global object has read


def share_options(conf: Any) -> Any:
    """Let oslo.config's global object read our configuration files, and return it.

    The one place where it is used: os-vif, os-brick and oslo.privsep know no other, and privsep
    hands the names of these files on to its helper.
    """
    global _files
    from oslo_config import cfg

    files = (list(conf.config_file or ()), list(conf.config_dir or ()))
    with _lock:
        if cfg.CONF is not conf and files != _files:
            cfg.CONF(
                [], project="nova", default_config_files=files[0], default_config_dirs=files[1]
            )
            _files = files
        return cfg.CONF


def stay_in_process(prefix: str, suffix: str = "") -> None:
    """As root, run right here what a library does with privileges: no helper process is needed.

    :param prefix: how the names of its (imported) modules begin that hold a privsep context
    :param suffix: how they end
    """
    if os.geteuid() != 0:
        return
    from oslo_privsep.priv_context import PrivContext

    for name, module in list(sys.modules.items()):
        if name.startswith(prefix) and name.endswith(suffix):
            for value in vars(module).values():
                if isinstance(value, PrivContext):
                    value.set_client_mode(False)
