"""What swtpm keeps of a guest's TPM: a directory of libvirt's, named after the guest.

It belongs to the user that swtpm runs as; [libvirt]swtpm_user and swtpm_group of nova.conf say the
same as qemu.conf.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

from nova_lite.drivers.hypervisor.libvirt.state_files import sync
from nova_lite.errors import HypervisorError

STATES = Path("/var/lib/libvirt/swtpm")


class TpmStates:
    """The part of the Hypervisor contract for the state of TPMs; ``_conf`` is [libvirt]."""

    _conf: Any

    def copy_tpm_state(self, uuid: str, target: Path) -> bool:
        return copy_out(uuid, target)

    def restore_tpm_state(self, uuid: str, source: Path) -> None:
        copy_in(uuid, source, self._conf.swtpm_user, self._conf.swtpm_group)


def copy_out(uuid: str, target: Path, states: Path = STATES) -> bool:
    """Copy the state of a guest that is off to ``target``, whole; False: there is none.

    :raises HypervisorError: it cannot be read or written
    """
    source, part = states / uuid, target.with_name(f"{target.name}.part")
    try:
        if not source.is_dir():
            return False
        if not target.exists():
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(source, part)
            _sync(part)
            part.rename(target)
            sync(target.parent)
    except OSError as error:
        raise HypervisorError(f"cannot copy the TPM state {source}: {error.strerror}") from error
    return True


def copy_in(uuid: str, source: Path, user: str, group: str, states: Path = STATES) -> None:
    """Give a guest that is off the state in ``source``, in place of what it had.

    :raises HypervisorError: it cannot be written, or there is no such user
    """
    target, part = states / uuid, states / f"{uuid}.part"
    try:
        states.mkdir(mode=0o711, parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        _own(part, user, group)
        _sync(part)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
        sync(states)
    except OSError as error:
        raise HypervisorError(f"cannot write the TPM state {target}: {error.strerror}") from error


def _own(directory: Path, user: str, group: str) -> None:
    if os.geteuid() != 0:
        return
    try:
        owner = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise HypervisorError(
            f"there is no user {user} or group {group} for the state of TPMs: see [libvirt]"
            "swtpm_user and swtpm_group"
        ) from error
    for path in (directory, *directory.rglob("*")):
        os.chown(path, *owner)
        path.chmod(0o700 if path.is_dir() else 0o600)


def _sync(directory: Path) -> None:
    for path in (*directory.rglob("*"), directory):
        sync(path)
