"""compute_id: the file that says which ComputeNode and resource provider this host is.

Stock reads it from the directory of each configuration file and from state_path; whichever exist
must agree. A lost file is not made again for a host that is known: its servers' books hang on it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

from nova_lite.drivers.disk import durable
from nova_lite.errors import HostIdentityError

FILE_NAME = "compute_id"


def read(directories: Iterable[Path]) -> str | None:
    """The uuid in the compute_id files of ``directories``, None when there is no file.

    :raises HostIdentityError: the files disagree or do not hold a uuid
    """
    found: dict[str, Path] = {}
    for directory in directories:
        path = directory / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostIdentityError(f"cannot read {path}: {error.strerror}") from error
        try:
            found[str(uuid.UUID(text))] = path
        except ValueError:
            raise HostIdentityError(
                f"{path} does not hold a uuid; put back the one that "
                "'openstack resource provider list' shows for this host"
            ) from None
    if len(found) > 1:
        files = " and ".join(str(path) for path in found.values())
        raise HostIdentityError(f"{files} name different hosts; keep the one that is right")
    return next(iter(found), None)


def write(state_path: Path, node_uuid: str) -> None:
    """Write the file, whole or not at all, for the owner of ``state_path``."""
    path = state_path / FILE_NAME
    try:
        durable.make_directory(state_path)
        with durable.made_whole(path) as partial:
            partial.write_text(node_uuid, encoding="utf-8")
    except OSError as error:
        raise HostIdentityError(f"cannot write {path}: {error.strerror}") from error


def new() -> str:
    return str(uuid.uuid4())
