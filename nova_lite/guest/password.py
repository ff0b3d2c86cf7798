"""A guest's administrator: who that is, and how the metadata service tells the user a password."""

from __future__ import annotations

import base64

# The password is kept as four strings of up to 255 characters, password_0 to password_3.
PARTS, PART_LENGTH = 4, 255


def admin_user(configured: str | None, os_type: str | None) -> str:
    """The account whose password is meant.

    :param configured: image property os_admin_user
    :param os_type: the server's os_type
    """
    return configured or ("Administrator" if os_type == "windows" else "root")


def readable_with(public_key: str, password: str) -> dict[str, str]:
    """What system_metadata keeps of a password that only the owner of an RSA key can read.

    :param public_key: of the server's key pair, ``ssh-rsa ...``
    :raises ValueError: it is no such key, or too short for the password
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        key = load_ssh_public_key(public_key.encode())
    except UnsupportedAlgorithm:
        raise ValueError("not an RSA key") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    sealed = base64.b64encode(key.encrypt(password.encode(), padding.PKCS1v15())).decode()
    return {
        f"password_{part}": sealed[part * PART_LENGTH : (part + 1) * PART_LENGTH]
        for part in range(PARTS)
    }
