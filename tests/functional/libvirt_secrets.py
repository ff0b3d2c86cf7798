"""What libvirt has on a host to open the volumes and the TPM of a trial's server with.

Each is for one ``usage``: the id of a volume, or of the server that has the TPM.
"""

from __future__ import annotations

import contextlib
from xml.etree import ElementTree

import libvirt


@contextlib.contextmanager
def found(uri, *usages):
    """libvirt's own objects, for the length of a with statement."""
    connection = libvirt.open(uri)
    try:
        yield [secret for secret in connection.listAllSecrets() if secret.usageID() in usages]
    finally:
        connection.close()


def is_readable(secret):
    return ElementTree.fromstring(secret.XMLDesc()).get("private") != "yes"


def kept(uri, *usages):
    """(definition, value) of those that can be read."""
    with found(uri, *usages) as secrets:
        return [(secret.XMLDesc(), secret.value()) for secret in secrets if is_readable(secret)]


def define(uri, *secrets):
    """What ``kept`` has told."""
    connection = libvirt.open(uri)
    try:
        for text, value in secrets:
            connection.secretDefineXML(text).setValue(value)
    finally:
        connection.close()


def forget(uri, *usages):
    with found(uri, *usages) as secrets:
        for secret in secrets:
            secret.undefine()
