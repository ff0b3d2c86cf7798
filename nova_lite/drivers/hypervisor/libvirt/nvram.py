"""What the firmware of a UEFI guest remembers: a file of libvirt's.

Libvirt 9.0.0 chooses firmware and file anew at each start, and only the guest that runs names them:
seen in its definitions before, during and after. The file has the guest's name, and one that is
there is used (qemuDomainNVRAMPathFormat of src/qemu/qemu_domain.c).
"""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find
from nova_lite.drivers.hypervisor.libvirt.state_files import put
from nova_lite.errors import HypervisorError
from nova_lite.mount_table import file_system

LOG = logging.getLogger(__name__)

FILES = Path("/var/lib/libvirt/qemu/nvram")
# File systems of one host; of all others it is not known whose they are.
LOCAL = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs")
)
SUFFIXES = (".fd", ".qcow2")  # raw; and what libvirt has since 9.2.0 for firmwares in qcow2
# Descriptions of the firmwares of this host (docs/interop/firmware.json of QEMU).
FIRMWARES = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))


class Nvram(Calls):
    """The part of the Hypervisor contract for the variables of a guest's firmware."""

    def copy_nvram(self, uuid: str, target: Path) -> bool:
        path, _ = self._nvram(uuid)
        try:
            if path is None or not path.is_file():
                return False
            if not target.exists():
                put(path, target)
        except OSError as error:
            raise HypervisorError(f"cannot copy {path}: {error.strerror}") from error
        return True

    def restore_nvram(self, uuid: str, source: Path) -> None:
        path, template = self._nvram(uuid)
        if path is None:
            LOG.warning("Guest %s has no variables of a firmware here; those that came are dropped",
                        uuid)  # fmt: skip
            return
        try:
            templates = [template] if template and template.exists() else _templates()
            sizes = {each.stat().st_size for each in templates}
            if sizes and source.stat().st_size not in sizes:
                LOG.warning("The firmware of this host keeps its variables in another way; guest "
                            "%s starts with new ones", uuid)  # fmt: skip
                return
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            put(source, path)  # libvirt gives it to QEMU when the guest starts
        except OSError as error:
            raise HypervisorError(f"cannot write {path}: {error.strerror}") from error

    def forget_nvram(self, uuid: str, name: str) -> None:
        # Libvirt removes the file with a definition, but leaves that of a guest that has migrated.
        if self._call(f"look for guest {uuid}", lambda c: find(c, uuid) is not None):
            return
        for path in (FILES / f"{name}_VARS{suffix}" for suffix in SUFFIXES):
            if not path.exists():
                continue
            if file_system(path) not in LOCAL:
                LOG.info("%s stays: another host may use it, for %s is on no local file system",
                         path, FILES)  # fmt: skip
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise HypervisorError(f"cannot remove {path}: {error.strerror}") from error

    def _nvram(self, uuid: str) -> tuple[Path | None, Path | None]:
        def read(connection: Any) -> tuple[Path | None, Path | None]:
            domain = find(connection, uuid)
            if domain is None:
                return None, None
            return named(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

        return self._call(f"read the definition of guest {uuid}", read)


def named(definition: str) -> tuple[Path | None, Path | None]:
    """The file with the variables of a guest by its definition, and the one that it is made from,
    where libvirt has chosen that."""
    domain = ET.fromstring(definition)
    nvram, loader = domain.find("os/nvram"), domain.find("os/loader")
    text = (nvram.text or "").strip() if nvram is not None else ""
    template = nvram.get("template") if nvram is not None else None
    automatic = domain.find("os[@firmware='efi']") is not None
    if not text and automatic and (loader is None or loader.get("stateless") != "yes"):
        text = str(FILES / f"{domain.findtext('name')}_VARS.fd")
    return Path(text) if text else None, Path(template) if template else None


def _templates() -> list[Path]:
    """What the firmwares of this host begin with; those that cannot be read are left out."""
    found = []
    for description in (path for directory in FIRMWARES for path in directory.glob("*.json")):
        try:
            mapping = json.loads(description.read_text())["mapping"]
            template = Path(mapping["nvram-template"]["filename"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if template.exists():
            found.append(template)
    return found
