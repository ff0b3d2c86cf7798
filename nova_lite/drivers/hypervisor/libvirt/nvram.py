"""What the firmware of a UEFI guest remembers: a file of libvirt's that the definition names."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find
from nova_lite.drivers.hypervisor.libvirt.state_files import put
from nova_lite.errors import HypervisorError

LOG = logging.getLogger(__name__)


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
            size = template.stat().st_size if template and template.exists() else None
            if size is not None and size != source.stat().st_size:
                LOG.warning("The firmware of this host keeps its variables in another way; guest "
                            "%s starts with new ones", uuid)  # fmt: skip
                return
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            put(source, path)  # libvirt gives it to QEMU when the guest starts
        except OSError as error:
            raise HypervisorError(f"cannot write {path}: {error.strerror}") from error

    def _nvram(self, uuid: str) -> tuple[Path | None, Path | None]:
        def read(connection: Any) -> tuple[Path | None, Path | None]:
            domain = find(connection, uuid)
            if domain is None:
                return None, None
            return named(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

        return self._call(f"read the definition of guest {uuid}", read)


def named(definition: str) -> tuple[Path | None, Path | None]:
    """The file with the variables that a definition names, and the one that it was made from."""
    nvram = ET.fromstring(definition).find("os/nvram")
    text = (nvram.text or "").strip() if nvram is not None else ""
    template = nvram.get("template") if nvram is not None else None
    return Path(text) if text else None, Path(template) if template else None
