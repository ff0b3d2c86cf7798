"""Passphrases of encrypted volumes: from the key manager to a libvirt secret, nowhere else."""

from __future__ import annotations

import logging

from nova_lite.drivers.volume import luks
from nova_lite.errors import VolumeEncryptionUnsupported
from nova_lite.model.volume import Connection
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

# What Cinder calls the encryption that QEMU knows; it once was the name of a class.
LUKS = ("luks", "LuksEncryptor")


def unlock(work: Work, connection: Connection) -> None:
    """Define the hypervisor's secret with the passphrase of a volume, if it is encrypted.

    A device without LUKS is formatted, as nova-compute does it: some drivers of Cinder leave that
    to the first host. An existing secret is kept, so that servers start while the key manager is
    down.

    :raises VolumeEncryptionUnsupported: it is not LUKS
    :raises VolumeKeyUnavailable: the key manager does not return its key
    """
    tools, volume_id = work.tools, connection.volume_id
    if not connection.encrypted or tools.hypervisor.secret(volume_id) is not None:
        return
    encryption = tools.cinder.encryption(work.context, volume_id)
    provider = str(encryption.get("provider"))
    if provider.rpartition(".")[2] not in LUKS:
        raise VolumeEncryptionUnsupported(
            f"volume {volume_id} is encrypted with {provider}; its volume type needs the provider "
            "luks"
        )
    passphrase = tools.keys.passphrase(work.context, str(encryption["encryption_key_id"]))
    # Ceph's volumes come with LUKS on them; what is a device of this host may never have been used.
    device = connection.data.get("device_path")
    if device and not luks.formatted(device):
        LOG.info("Volume %s is encrypted, but empty yet: putting LUKS on it", volume_id)
        luks.format_device(device, passphrase)
    tools.hypervisor.set_secret(volume_id, passphrase)


def forget(work: Work, connection: Connection) -> None:
    """Delete the hypervisor's secret: an encrypted volume is attached to one server only."""
    if connection.encrypted:
        work.tools.hypervisor.forget_secret(connection.volume_id)


def secret_uuid(work: Work, connection: Connection) -> str | None:
    """The hypervisor's secret that opens a volume, None for a volume that is not encrypted."""
    return work.tools.hypervisor.secret(connection.volume_id) if connection.encrypted else None
