"""Passphrases of encrypted volumes, kept by libvirt for QEMU."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add

USAGE = libvirt.VIR_SECRET_USAGE_TYPE_VOLUME


class Secrets(Calls):
    """The part of the Hypervisor contract that keeps secrets."""

    def set_secret(self, usage_id: str, passphrase: str) -> str:
        def set_value(connection: Any) -> str:
            secret = _find(connection, usage_id)
            if secret is None:
                secret = connection.secretDefineXML(_render(usage_id))
            secret.setValue(passphrase.encode(), 0)
            return str(secret.UUIDString())

        return self._call(f"keep the secret of volume {usage_id}", set_value)

    def secret(self, usage_id: str) -> str | None:
        def look(connection: Any) -> str | None:
            secret = _find(connection, usage_id)
            return str(secret.UUIDString()) if secret is not None and _has_value(secret) else None

        return self._call(f"look for the secret of volume {usage_id}", look)

    def forget_secret(self, usage_id: str) -> None:
        def forget(connection: Any) -> None:
            try:
                secret = _find(connection, usage_id)
                if secret is not None:
                    secret.undefine()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:  # somebody was faster
                    raise

        self._call(f"drop the secret of volume {usage_id}", forget)


def _render(usage_id: str) -> str:
    # On disk, where root alone reads it: guests start again after the host did, without Keystone.
    secret = ET.Element("secret", ephemeral="no", private="no")
    add(add(secret, "usage", type="volume"), "volume", usage_id)
    return ET.tostring(secret, encoding="unicode")


def _find(connection: Any, usage_id: str) -> Any:
    try:
        return connection.secretLookupByUsage(USAGE, usage_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def _has_value(secret: Any) -> bool:
    """An agent may be killed between defining a secret and giving it its value."""
    try:
        return bool(secret.value(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return False
        raise
