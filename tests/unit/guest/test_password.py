"""Administrators and their sealed passwords."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from nova_lite.guest.password import admin_user, readable_with


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()  # fmt: skip


@pytest.mark.parametrize(
    ("configured", "os_type", "user"),
    [(None, None, "root"), ("", "linux", "root"), (None, "windows", "Administrator"),
     ("cirros", "windows", "cirros")],
)  # fmt: skip
def test_the_administrator_is_the_images_or_the_systems(configured, os_type, user):
    """os_admin_user wins, else the operating system says."""
    assert admin_user(configured, os_type) == user


@pytest.mark.parametrize("bits", [1024, 4096])
def test_only_the_owner_of_the_key_reads_the_password(bits):
    """Four strings that fit their columns; a short one leaves no old end behind."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    parts = readable_with(f"{public(key)} me@home", "correct horse")

    assert sorted(parts) == ["password_0", "password_1", "password_2", "password_3"]
    assert max(map(len, parts.values())) <= 255
    sealed = base64.b64decode("".join(parts[name] for name in sorted(parts)))
    assert key.decrypt(sealed, padding.PKCS1v15()) == b"correct horse"


# Ids of their own: the workers of a parallel run must find the same tests, whatever the key.
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("ssh-rsa nonsense", id="nonsense"),
        pytest.param("", id="empty"),
        pytest.param(public(ed25519.Ed25519PrivateKey.generate()), id="ed25519"),
    ],
)
def test_other_keys_are_refused(key):
    """A key that cannot encrypt is a ValueError, whatever it is."""
    with pytest.raises(ValueError):
        readable_with(key, "correct horse")
