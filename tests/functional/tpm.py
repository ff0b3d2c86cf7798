"""What a host of a trial has of the server's emulated TPM: its state, and libvirt's secret."""

from __future__ import annotations

import contextlib
import shutil
from xml.etree import ElementTree

from tests.functional import libvirt_secrets

# One that nobody can read.
SECRET = (
    "<secret ephemeral='yes' private='yes'><uuid>{uuid}</uuid>"
    "<usage type='vtpm'><name>{server}</name></usage></secret>"
)


class Tpm:
    """Of one host; the keys themselves are in the trial's ledger."""

    def __init__(self, daemon, trial) -> None:
        self._daemon, self._trial = daemon, trial
        self._copy = trial.directory.with_suffix(f".tpm-{daemon.directory.name}")

    @property
    def _state(self):
        return self._daemon.directory / "lib" / "swtpm" / self._trial.server

    def state(self):
        """Whether there is what it knows."""
        return any(path.stat().st_size for path in self._state.rglob("*permall*"))

    def look(self):
        """(there is its state, libvirt has a secret, which can be read)"""
        with libvirt_secrets.found(self._daemon.uri, self._trial.server) as found:
            readable = [libvirt_secrets.is_readable(secret) for secret in found]
        return self.state(), bool(readable), any(readable)

    # --- again and again --------------------------------------------------------------------
    def keep(self):
        shutil.rmtree(self._copy, ignore_errors=True)
        if self._state.exists():
            shutil.copytree(self._state, self._copy)

    def restore(self):
        """Bring its state back; of the secrets the host does so."""
        self.clear()
        if self._copy.exists():
            shutil.copytree(self._copy, self._state)

    @contextlib.contextmanager
    def unlocked(self, definition):
        """A guest with this definition can be started."""
        encryption = ElementTree.fromstring(definition).find("devices/tpm/backend/encryption")
        _, known, _ = self.look()
        missing = encryption is not None and not known
        if missing:
            uuid, server = encryption.get("secret"), self._trial.server
            value = self._trial.ledger.read()["keys"][uuid][1].encode()
            text = SECRET.format(uuid=uuid, server=server)
            libvirt_secrets.define(self._daemon.uri, (text, value))
        yield
        if missing:
            self._forget()

    def clear(self):
        self._forget()
        shutil.rmtree(self._state, ignore_errors=True)

    def _forget(self):
        libvirt_secrets.forget(self._daemon.uri, self._trial.server)
