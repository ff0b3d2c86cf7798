"""Whether two hosts have the same files of a server: as stock finds it out, by looking.

This host makes a file in the server's directory, and the other one, or its ssh, says whether it is
there. Nothing of it is configured.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nova_lite.drivers.disk.base import RemoteFiles
from nova_lite.errors import ControlPlaneUnavailable, DiskError, NovaLiteError
from nova_lite.services.disk_files import directory
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

# Each time another name: what was not there once is not looked for again by an NFS client.
PREFIX = ".shared-storage-test-"
OLD_S = 3600.0  # no host looks for a file for so long


def shared_with(work: Work, host: str | None, where: Path | None = None) -> bool | None:
    """Whether ``host`` has the server's directory, too; None where that cannot be told.

    The RPC method is check_instance_shared_storage, a call to the other host.

    :param host: None where nobody knows it
    :param where: another directory of the server
    :raises ControlPlaneUnavailable: broker or conductor are away
    :raises DiskError: nothing can be written to the directory
    """
    where = where or directory(work)
    if host is None:
        _remove_probes(where)
        return None
    with _probe(where) as name:
        return _ask(work, host, name)


def has_file(work: Work, host: str, name: str) -> bool | None:
    """Whether ``host`` has a file of that name in the server's directory, shared or its own; None
    where that cannot be told.

    :raises ControlPlaneUnavailable: broker or conductor are away
    """
    return _ask(work, host, str(directory(work) / name))


def _ask(work: Work, host: str, filename: str) -> bool | None:
    try:
        return bool(
            work.tools.peers.call(
                work.context, host, "check_instance_shared_storage", data={"filename": filename}
            )
        )
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.warning("Host %s does not tell what it has of server %s: %s", host, work.uuid, error)
        return None


def shared_over(work: Work, remote: RemoteFiles) -> bool:
    """Whether the host that a server's disks are to go to has its directory already.

    Disks in a cluster that both hosts reach are no files: see ``DiskBackend.shared``.

    :param remote: the other host; its errors are raised
    :raises DiskError: nothing can be written to the directory
    """
    with _probe(directory(work)) as name:
        return remote.exists(name)


def is_there(instances_path: Path, filename: object) -> bool:
    """Whether this host has a file that another one has made in the directory of a server.

    The other side of ``shared_with``. What is anywhere else is not looked at, and no link is
    followed: no other host is to learn what files this one has.

    :param filename: the path on the other host, which has the same instances_path
    """
    if not isinstance(filename, str) or "\0" in filename:
        return False
    try:
        parts = PurePosixPath(filename).relative_to(PurePosixPath(instances_path)).parts
    except ValueError:
        return False
    if len(parts) != 2 or ".." in parts:
        return False
    return os.path.lexists(instances_path.joinpath(*parts))


@contextlib.contextmanager
def shown(instances_path: Path) -> Iterator[str]:
    """The name of a new file in instances_path, by which another host sees whether it has the same;
    it is gone afterwards. What a killed agent has left there goes with the next one.

    :raises DiskError: nothing can be written there
    """
    for path in instances_path.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD_S:
                path.unlink()
    with _new_file(instances_path) as name:
        yield Path(name).name


def is_shown(instances_path: Path, filename: object) -> bool:
    """The other side of :func:`shown`: whether this host has that file, too.

    :raises DiskError: instances_path cannot be looked at
    """
    if not isinstance(filename, str) or "\0" in filename:
        return False
    if filename in ("", "..") or PurePosixPath(filename).name != filename:
        return False
    try:
        os.utime(instances_path)  # has a client of NFS look again
    except OSError as error:
        raise DiskError(f"cannot look at {instances_path}: {error.strerror}") from error
    return os.path.lexists(instances_path / filename)


@contextlib.contextmanager
def _probe(where: Path) -> Iterator[str]:
    """The path of a new file in a directory, which is gone afterwards.

    :raises DiskError: nothing can be written there
    """
    _remove_probes(where)
    with _new_file(where) as name:
        yield name


@contextlib.contextmanager
def _new_file(where: Path) -> Iterator[str]:
    try:
        probe = tempfile.NamedTemporaryFile(dir=where, prefix=PREFIX)  # noqa: SIM115
    except OSError as error:
        raise DiskError(f"cannot write to {where}: {error.strerror}") from error
    with probe:
        yield probe.name


def _remove_probes(where: Path) -> None:
    """Remove what an agent left that was killed while it asked."""
    for path in where.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            path.unlink()
