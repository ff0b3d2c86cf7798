"""os-brick ready for use in this process: its options, locks and privileges.

https://docs.openstack.org/os-brick/latest/

Importing it takes some 20 MiB: only what cannot do without it imports this module's callers.
"""

from __future__ import annotations

import threading
from typing import Any

from nova_lite.drivers import oslo_globals
from nova_lite.drivers.volume.drivers import lock_directory

ROOT_HELPER = "sudo"  # how oslo.privsep starts its helper where [privsep_osbrick] says nothing

_lock = threading.Lock()
_ready = False


def initialize(conf: Any) -> None:
    """Prepare os-brick; repeating is free.

    :param conf: the agent's options; os-brick's own groups ([os_brick], [privsep_osbrick]) are
        read from its configuration files
    """
    global _ready
    with _lock:
        if _ready:
            return
        import os_brick
        from os_brick import privileged  # noqa: F401  holds what stay_in_process looks for
        from oslo_concurrency import lockutils

        options = oslo_globals.share_options(conf)
        lockutils.set_defaults(str(lock_directory(conf)))
        os_brick.setup(options)
        oslo_globals.stay_in_process("os_brick.privileged")
        _ready = True
