"""The state of a server's emulated TPM on its way to another host, and back.

It travels as stock has it travel: below ``swtpm/<uuid>`` in the server's directory. The host that
the server leaves keeps a copy there, too, for a revert. The passphrase is the user's, in the key
manager.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from nova_lite.errors import DiskError
from nova_lite.services.disk_files import directory
from nova_lite.services.kept_disks import kept_directory
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

BESIDE = "swtpm"
VERSION, MODEL = "hw:tpm_version", "hw:tpm_model"


def keep(work: Work) -> list[Path]:
    """Copy the state to what is kept of the server; returns its files. The guest is off."""
    home = kept_directory(work) / BESIDE
    if not home.parent.exists():
        return []
    try:
        home.mkdir(exist_ok=True)
        there = work.tools.hypervisor.copy_tpm_state(work.uuid, home / work.uuid)
        if not there:
            home.rmdir()
    except OSError as error:
        raise DiskError(f"cannot keep the TPM state in {home}: {error.strerror}") from error
    return sorted(path for path in home.rglob("*") if path.is_file()) if there else []


def take_in(work: Work) -> None:
    """Give the hypervisor the state that came with the server's files, and remove that there.

    Where the new flavor has another TPM than the old one, or none, it is dropped, as in stock.
    """
    home = directory(work) / BESIDE
    came = home / work.uuid
    if came.is_dir():
        if _changed(work):
            LOG.info("Server %s gets a new TPM: that of its new flavor is another one", work.uuid)
        else:
            work.tools.hypervisor.restore_tpm_state(work.uuid, came)
    try:
        if home.exists():
            shutil.rmtree(home)
    except OSError as error:
        raise DiskError(f"cannot remove {home}: {error.strerror}") from error


def _changed(work: Work) -> bool:
    """Whether the server comes with another flavor, and that wants another TPM."""
    old, new = work.instance.get("old_flavor"), work.instance["flavor"]
    if old is None:
        return False

    def wanted(flavor: WireObject) -> tuple[object, ...]:
        specs = flavor.get("extra_specs") or {}
        return specs.get(VERSION), specs.get(MODEL)

    return wanted(old) != wanted(new)
