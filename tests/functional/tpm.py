"""What a host of a trial has of the server's emulated TPM: its state, and libvirt's secret."""

from __future__ import annotations

import contextlib
import shutil
from xml.etree import ElementTree

import libvirt

SECRET = (
    "<secret ephemeral='{flag}' private='{flag}'><uuid>{uuid}</uuid>"
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

    def secret(self):
        """(uuid, value) of one that can be read."""
        with self._secret() as secret:
            if secret is None or ElementTree.fromstring(secret.XMLDesc()).get("private") == "yes":
                return None
            return secret.UUIDString(), secret.value(0)

    def is_known(self):
        """Whether libvirt has a secret, one that nobody can read or not."""
        with self._secret() as secret:
            return secret is not None

    def look(self):
        """(there is its state, libvirt has a secret, which can be read)"""
        return self.state(), self.is_known(), self.secret() is not None

    # --- again and again --------------------------------------------------------------------
    def keep(self):
        shutil.rmtree(self._copy, ignore_errors=True)
        if self._state.exists():
            shutil.copytree(self._state, self._copy)

    def restore(self, secret):
        self.clear()
        if self._copy.exists():
            shutil.copytree(self._copy, self._state)
        if secret is not None:
            self._define(*secret, flag="no")

    @contextlib.contextmanager
    def unlocked(self, definition):
        """A guest with this definition can be started."""
        encryption = ElementTree.fromstring(definition).find("devices/tpm/backend/encryption")
        missing = encryption is not None and not self.is_known()
        if missing:
            uuid = encryption.get("secret")
            self._define(uuid, self._trial.ledger.read()["keys"][uuid][1].encode(), flag="yes")
        yield
        if missing:
            self._forget()

    def clear(self):
        self._forget()
        shutil.rmtree(self._state, ignore_errors=True)

    def _define(self, uuid, value, *, flag):
        with self._connection() as connection:
            text = SECRET.format(flag=flag, uuid=uuid, server=self._trial.server)
            connection.secretDefineXML(text).setValue(value, 0)

    def _forget(self):
        with self._secret() as secret:
            if secret is not None:
                secret.undefine()

    @contextlib.contextmanager
    def _secret(self):
        with self._connection() as connection:
            found = [one for one in connection.listAllSecrets()
                     if one.usageID() == self._trial.server]  # fmt: skip
            yield found[0] if found else None

    @contextlib.contextmanager
    def _connection(self):
        connection = libvirt.open(self._daemon.uri)
        try:
            yield connection
        finally:
            connection.close()
