"""The one thread that runs libvirt's event loop.

libvirt's loop is per process: its implementation must be registered before the first connection is
opened, and keepalive, close notices and domain events all come through it.
"""

from __future__ import annotations

import logging
import threading
import time

import libvirt

LOG = logging.getLogger(__name__)

_lock = threading.Lock()
_started = False


def ensure_started() -> None:
    """Start the thread when it does not run yet; it lives as long as the process."""
    global _started
    with _lock:
        if _started:
            return
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-loop", daemon=True).start()
        _started = True


def _run() -> None:
    # Without any handle or timer the loop would return at once, again and again.
    libvirt.virEventAddTimeout(60_000, lambda _timer, _opaque: None, None)
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            LOG.exception("libvirt's event loop stumbled; events may be late")
            time.sleep(1)
