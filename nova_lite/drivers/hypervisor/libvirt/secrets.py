"""Passphrases of encrypted volumes and TPMs, kept by libvirt for QEMU."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add

USAGE = libvirt.VIR_SECRET_USAGE_TYPE_VOLUME
TPM = libvirt.VIR_SECRET_USAGE_TYPE_VTPM


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
        self._forget(f"drop the secret of volume {usage_id}", usage_id, USAGE)

    def set_tpm_secret(
        self, uuid: str, secret_uuid: str, passphrase: bytes, *, kept: bool = False
    ) -> None:
        def set_value(connection: Any) -> None:
            existing = _find(connection, uuid, TPM)
            if existing is not None:
                # libvirt takes one for a usage, and lets none that is private become public.
                if existing.UUIDString() != secret_uuid or _is_kept(existing) != kept:
                    existing.undefine()
            made = connection.secretDefineXML(_render_tpm(uuid, secret_uuid, kept=kept))
            made.setValue(passphrase, 0)

        self._call(f"keep the secret of the TPM of guest {uuid}", set_value)

    def tpm_secret(self, uuid: str) -> tuple[str, bytes] | None:
        def look(connection: Any) -> tuple[str, bytes] | None:
            secret = _find(connection, uuid, TPM)
            if secret is None or not _is_kept(secret) or not _has_value(secret):
                return None
            return str(secret.UUIDString()), bytes(secret.value(0))

        return self._call(f"look for the secret of the TPM of guest {uuid}", look)

    def forget_tpm_secret(self, uuid: str) -> None:
        self._forget(f"drop the secret of the TPM of guest {uuid}", uuid, TPM)

    def _forget(self, what: str, usage_id: str, usage: int) -> None:
        def forget(connection: Any) -> None:
            try:
                secret = _find(connection, usage_id, usage)
                if secret is not None:
                    secret.undefine()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:  # somebody was faster
                    raise

        self._call(what, forget)


def _render_tpm(uuid: str, secret_uuid: str, *, kept: bool) -> str:
    # In libvirt's memory alone, where its owner has it and asks for each start; else on disk.
    # nova-compute of 2026.1 makes the same of both.
    flag = "no" if kept else "yes"
    secret = ET.Element("secret", ephemeral=flag, private=flag)
    add(secret, "uuid", secret_uuid)
    add(add(secret, "usage", type="vtpm"), "name", uuid)
    return ET.tostring(secret, encoding="unicode")


def _render(usage_id: str) -> str:
    # On disk, where root alone reads it: guests start again after the host did, without Keystone.
    secret = ET.Element("secret", ephemeral="no", private="no")
    add(add(secret, "usage", type="volume"), "volume", usage_id)
    return ET.tostring(secret, encoding="unicode")


def _find(connection: Any, usage_id: str, usage: int = USAGE) -> Any:
    try:
        return connection.secretLookupByUsage(usage, usage_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def _is_kept(secret: Any) -> bool:
    """Whether it is on disk, and may be read."""
    found = ET.fromstring(secret.XMLDesc(0))
    return found.get("ephemeral") != "yes" and found.get("private") != "yes"


def _has_value(secret: Any) -> bool:
    """An agent may be killed between defining a secret and giving it its value."""
    try:
        return bool(secret.value(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return False
        raise
