"""The key manager, for tests of servers with an emulated TPM."""

from __future__ import annotations

from nova_lite.clients.key_manager import KeyManager
from nova_lite.errors import VolumeKeyUnavailable


class Keys:
    """In place of the real one's methods; ``refuses`` requests of users, ``asked``: (method, whose
    key)."""

    def __init__(self):
        self.kept, self.made, self.refuses = {}, 0, False
        self.asked = []

    def create(self, context, name, *, own=False):
        self._answer("create", own)
        self.made += 1
        self.kept[f"k{self.made}"] = f"passphrase {name}".encode()
        return f"k{self.made}"

    def secret(self, context, key_id, *, own=False):
        self._answer("secret", own)
        return self.kept[key_id]

    def delete(self, context, key_id, *, own=False):
        self._answer("delete", own)
        self.kept.pop(key_id, None)

    def _answer(self, method, own):
        self.asked.append((method, "service" if own else "user"))
        if self.refuses and not own:
            raise VolumeKeyUnavailable("no key k1 from it: Forbidden")


def stand_in(monkeypatch):
    """One in place of every agent's."""
    made = Keys()
    for name in ("create", "secret", "delete"):
        ask = getattr(made, name)
        monkeypatch.setattr(
            KeyManager, name, lambda self, *given, ask=ask, **more: ask(*given, **more)
        )
    return made
