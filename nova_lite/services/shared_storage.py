"""Whether another host has the same files of a server: as stock finds it out, by looking.

This host makes a file in the server's directory, and the other one says whether it sees it.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from pathlib import Path

from nova_lite.errors import ControlPlaneUnavailable, DiskError, NovaLiteError
from nova_lite.services.disk_files import directory
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

# Each time another name: what was not there once is not looked for again by an NFS client.
PREFIX = ".shared-storage-test-"


def shared_with(work: Work, host: str | None) -> bool | None:
    """Whether ``host`` has the server's directory, too; None where that cannot be told.

    The RPC method is check_instance_shared_storage, a call to the other host.

    :param host: None where nobody knows it
    :raises ControlPlaneUnavailable: broker or conductor are away
    :raises DiskError: nothing can be written to the directory
    """
    where = directory(work)
    _remove_probes(where)
    if host is None:
        return None
    try:
        probe = tempfile.NamedTemporaryFile(dir=where, prefix=PREFIX)  # noqa: SIM115
    except OSError as error:
        raise DiskError(f"cannot write to {where}: {error.strerror}") from error
    with probe:
        try:
            return bool(
                work.tools.peers.call(
                    work.context,
                    host,
                    "check_instance_shared_storage",
                    data={"filename": probe.name},
                )
            )
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError as error:
            LOG.warning("Host %s does not tell whether it shares %s: %s", host, where, error)
            return None


def _remove_probes(where: Path) -> None:
    """Remove what an agent left that was killed while it asked."""
    for path in where.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            path.unlink()
