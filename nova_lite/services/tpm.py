"""The keys of emulated TPMs: in the key manager, and on this host only while a guest starts.

The state of a TPM (libvirt keeps it below /var/lib/libvirt/swtpm) is encrypted with a passphrase
that belongs to the server's user: nobody else can start the guest. Its id is in the server's
system_metadata, where nova-compute keeps it. The key lives as long as the server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nova_lite.errors import (
    NovaLiteError,
    RequestTokenExpired,
    TpmKeyUnavailable,
    VolumeKeyUnavailable,
)
from nova_lite.guest import devices
from nova_lite.guest.properties import Properties
from nova_lite.services.notes import GuestNotes
from nova_lite.services.power_state import is_on
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

KEY = "vtpm_secret_uuid"


def key_id(work: Work) -> str | None:
    """The id of the server's key in the key manager, None for a server that has none yet."""
    found = work.instance.get("system_metadata", {}).get(KEY)
    return str(found) if found else None


def wanted(work: Work) -> bool:
    """Whether the server is to have a TPM.

    :raises InvalidGuestConfig, UnsupportedByHost: as of ``guest.devices.tpm``
    """
    swtpm = work.tools.policy.swtpm
    return devices.tpm(Properties(work.server), swtpm=swtpm) is not None


def ensure_key(work: Work) -> None:
    """Make a key for a server that is to have a TPM and has no key yet; may be repeated.

    :raises TpmKeyUnavailable: the key manager takes none
    """
    if not wanted(work) or key_id(work) is not None:
        return
    made = GuestNotes.of(work.notes).tpm_key
    if made is None:
        try:
            made = work.tools.keys.create(work.context, f"vTPM secret for instance {work.uuid}")
        except VolumeKeyUnavailable as error:
            raise TpmKeyUnavailable(work.uuid, error.message) from None
        work.note(tpm_key=made)
    metadata = {**work.instance.get("system_metadata", {}), KEY: made}
    work.tools.instances.save(work.context, work.instance, system_metadata=metadata)


@contextmanager
def unlocked(work: Work) -> Iterator[None]:
    """The hypervisor has the passphrase of the server's TPM, if it has one, while its guest starts.

    :raises TpmKeyUnavailable: the key manager does not return it to who asks for the start
    """
    known, tools = key_id(work), work.tools
    if known is None or not wanted(work) or is_on(tools.hypervisor, work.uuid):
        yield
        return
    tools.hypervisor.set_tpm_secret(work.uuid, known, _passphrase(work, known))
    try:
        yield
    finally:
        tools.hypervisor.forget_tpm_secret(work.uuid)


def require_key(work: Work) -> None:
    """Look whether who asks for a start may have the key, before a guest is powered off for it.

    :raises TpmKeyUnavailable: the key manager does not return it
    """
    known = key_id(work)
    if known is not None and wanted(work):
        _passphrase(work, known)


def _passphrase(work: Work, known: str) -> bytes:
    try:
        return work.tools.keys.secret(work.context, known)
    except (RequestTokenExpired, VolumeKeyUnavailable) as error:
        raise TpmKeyUnavailable(work.uuid, error.message) from None


def forget_key(work: Work) -> None:
    """Delete the key of a server that is deleted; who may not do so leaves it, with a warning."""
    known = key_id(work)
    if known is None:
        return
    work.tools.hypervisor.forget_tpm_secret(work.uuid)  # of a start that was cut off
    try:
        work.tools.keys.delete(work.context, known)
    except NovaLiteError as error:
        LOG.warning("Key %s of the TPM of server %s stays in the key manager: %s",
                    known, work.uuid, error)  # fmt: skip
