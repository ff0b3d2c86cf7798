"""What the hypervisor keeps of a server beside its disks, on its way to another host and back.

The state of an emulated TPM travels as stock has it travel: below ``swtpm/<uuid>`` in the server's
directory. The passphrase is the user's, in the key manager. What a UEFI firmware remembers goes
along as ``nvram.fd``, which stock does not know. The host that the server leaves keeps copies for a
revert.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from nova_lite.errors import DiskError
from nova_lite.services.disk_files import directory
from nova_lite.services.kept_disks import kept_directory
from nova_lite.services.power_state import is_on
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

BESIDE, NVRAM = "swtpm", "nvram.fd"
VERSION, MODEL = "hw:tpm_version", "hw:tpm_model"


def keep(work: Work) -> list[Path]:
    """Copy all to what is kept of the server; returns the files. The guest is off."""
    kept = kept_directory(work) / NVRAM
    if not kept.parent.exists():
        return []
    there = work.tools.hypervisor.copy_nvram(work.uuid, kept)
    return [*_keep_tpm(work), *([kept] if there else [])]


def restore_nvram(work: Work) -> None:
    """Give the guest, which is defined and off, what its firmware has remembered."""
    came = directory(work) / NVRAM
    if not came.exists():
        return
    if not is_on(work.tools.hypervisor, work.uuid):
        work.tools.hypervisor.restore_nvram(work.uuid, came)
    try:
        came.unlink()
    except OSError as error:
        raise DiskError(f"cannot remove {came}: {error.strerror}") from error


def _keep_tpm(work: Work) -> list[Path]:
    home = kept_directory(work) / BESIDE
    try:
        home.mkdir(exist_ok=True)
        there = work.tools.hypervisor.copy_tpm_state(work.uuid, home / work.uuid)
        if not there:
            home.rmdir()
    except OSError as error:
        raise DiskError(f"cannot keep the TPM state in {home}: {error.strerror}") from error
    return sorted(path for path in home.rglob("*") if path.is_file()) if there else []


def take_in_tpm(work: Work) -> None:
    """Give the hypervisor the TPM state that came with the server's files, and remove that there.

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
