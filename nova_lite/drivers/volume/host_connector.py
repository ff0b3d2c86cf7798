"""What Cinder must know of this host to let it have a volume: addresses, names of initiators."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from nova_lite.drivers.volume.base import HostProperties
from nova_lite.errors import HostConnectorFailed

LOG = logging.getLogger(__name__)

PROBE_S = 120.0


class HostConnector(HostProperties):
    """The connector properties of this host, looked up once, when a volume first needs them.

    os-brick finds them. That happens in a process of its own: the library would stay in memory for
    the life of an agent that may never attach anything but volumes that QEMU reaches by itself. A
    new initiator name takes a restart of the agent, as with nova-compute.
    """

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None

    def properties(self) -> Mapping[str, Any]:
        """See ``HostProperties``."""
        with self._lock:
            if self._found is None:
                self._found = _ask_probe(self._conf)
                LOG.info("This host can be given volumes by: %s", ", ".join(sorted(self._found)))
            return dict(self._found)


def _ask_probe(conf: Any) -> dict[str, Any]:
    question = {
        "config_file": list(conf.config_file or ()),
        "config_dir": list(conf.config_dir or ()),
        "lock_path": conf.oslo_concurrency.lock_path,
        "state_path": conf.state_path,
        "ip": conf.my_block_storage_ip,
        "multipath": conf.libvirt.volume_use_multipath,
        "host": conf.host,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nova_lite.drivers.volume.connector_probe"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostConnectorFailed(f"os-brick does not answer: {error}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise HostConnectorFailed(f"os-brick says: {said[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
