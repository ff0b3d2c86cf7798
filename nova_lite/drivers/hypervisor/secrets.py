"""The part of the hypervisor contract that keeps passphrases of volumes and TPMs, and what TPMs
remember."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Secrets(ABC):
    """See ``drivers/hypervisor/base.py`` for what holds of every method."""

    @abstractmethod
    def set_secret(self, usage_id: str, passphrase: str) -> str:
        """Keep the passphrase of an encrypted volume on this host; returns the secret's uuid.

        Replaces one that is there for the volume ``usage_id``.
        """

    @abstractmethod
    def secret(self, usage_id: str) -> str | None:
        """The uuid of that volume's secret, None when the host keeps none."""

    @abstractmethod
    def forget_secret(self, usage_id: str) -> None:
        """Drop that volume's secret, if there is one; guests that run need it no more."""

    @abstractmethod
    def set_tpm_secret(
        self, uuid: str, secret_uuid: str, passphrase: bytes, *, kept: bool = False
    ) -> None:
        """Keep the passphrase of a guest's TPM, under the uuid in its DomainSpec, in place of any
        other that is there for that guest.

        :param kept: on disk, where root can read it, until it is forgotten; else in memory alone,
            and nobody can read it
        """

    @abstractmethod
    def tpm_secret(self, uuid: str) -> tuple[str, bytes] | None:
        """The uuid and the passphrase that are *kept* of a guest's TPM; None: none is, or it
        cannot be read."""

    @abstractmethod
    def forget_tpm_secret(self, uuid: str) -> None:
        """Drop the passphrase of a guest's TPM, kept or not, if there is one; only a start, and an
        arrival from another host, needs it."""

    @abstractmethod
    def copy_tpm_state(self, uuid: str, target: Path) -> bool:
        """Copy what is kept of the TPM of a guest that is off to a new directory, whole or not at
        all; one that is there stays. False: nothing is kept."""

    @abstractmethod
    def restore_tpm_state(self, uuid: str, source: Path) -> None:
        """Give a guest that is off, defined or not, the TPM whose state was copied to ``source``,
        in place of its own."""
