"""The keys of emulated TPMs: in the key manager, and on this host as far as a guest needs them.

The state of a TPM (libvirt keeps it below /var/lib/libvirt/swtpm) is encrypted with a passphrase.
Whose that is says the flavor (``model/tpm.py``):

* ``user``: the server's user, and nobody else can start the guest. The hypervisor has it only while
  the guest starts.
* ``host``: the server's user, too, but the hypervisor keeps it on disk as long as the server is on
  this host, so that nobody is asked for it again. A host to which the server came by a resize or a
  cold migration asks the key manager once, as whoever moves it; ``services/live_tpm.py`` brings it
  along with a guest that runs.
* ``deployment``: the compute service. Every host asks the key manager by itself whenever the guest
  starts, and the hypervisor has it as with ``user``.

The key's id is in the server's system_metadata, and the hypervisor's secret has the same uuid, and
is for ``vtpm`` with the server's uuid: all of this as nova-compute keeps it. The key lives as long
as the server wants a TPM.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from nova_lite.errors import (
    NovaLiteError,
    RequestTokenExpired,
    TpmKeyUnavailable,
    VolumeKeyUnavailable,
)
from nova_lite.guest import devices
from nova_lite.guest.properties import Properties
from nova_lite.model.server import Flavor
from nova_lite.model.tpm import DEPLOYMENT, EXTRA_SPEC, HOST, USER
from nova_lite.services.notes import GuestNotes
from nova_lite.services.power_state import is_on
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

KEY = "vtpm_secret_uuid"
_OWNER = (
    "It belongs to the compute service: [service_user] has to have the same user's credentials on "
    "all hosts"
)


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


def mode(work: Work) -> str:
    """Whose the key of the server's TPM is, if it has one: one of ``model.tpm.MODES``."""
    return _mode_of(work.server.flavor)


def _mode_of(flavor: Flavor) -> str:
    return str(flavor.extra_specs.get(EXTRA_SPEC) or USER)


def ensure_key(work: Work) -> None:
    """Make a key for a server that is to have a TPM and has no key yet; may be repeated.

    :raises TpmKeyUnavailable: the key manager takes none
    :raises CredentialsInvalid: it would be the compute service's, which has no credentials
    """
    if not wanted(work) or key_id(work) is not None:
        return
    made = GuestNotes.of(work.notes).tpm_key
    if made is None:
        own, name = mode(work) == DEPLOYMENT, f"vTPM secret for instance {work.uuid}"
        try:
            made = work.tools.keys.create(work.context, name, own=own)
        except VolumeKeyUnavailable as error:
            raise _unavailable(work, error) from None
        work.note(tpm_key=made)
    metadata = {**work.instance.get("system_metadata", {}), KEY: made}
    work.tools.instances.save(work.context, work.instance, system_metadata=metadata)


@contextmanager
def unlocked(work: Work) -> Iterator[None]:
    """The hypervisor has the passphrase of the server's TPM, if it has one, while its guest starts;
    a passphrase that this host keeps stays.

    :raises TpmKeyUnavailable: the key manager does not return it to who asks for the start
    :raises CredentialsInvalid: it is the compute service's, which has no credentials
    """
    known, tools = key_id(work), work.tools
    if known is None or not wanted(work) or is_on(tools.hypervisor, work.uuid):
        yield
        return
    if mode(work) == HOST:
        if not is_kept(work, known):
            tools.hypervisor.set_tpm_secret(work.uuid, known, passphrase(work, known), kept=True)
        yield
        return
    tools.hypervisor.set_tpm_secret(work.uuid, known, passphrase(work, known))
    try:
        yield
    finally:
        tools.hypervisor.forget_tpm_secret(work.uuid)


def require_key(work: Work) -> None:
    """Look whether who asks for a start may have the key, before a guest is powered off for it.

    :raises TpmKeyUnavailable: the key manager does not return it
    :raises CredentialsInvalid: it is the compute service's, which has no credentials
    """
    known = key_id(work)
    if known is None or not wanted(work):
        return
    if mode(work) != HOST or not is_kept(work, known):
        passphrase(work, known)


def passphrase(work: Work, known: str) -> bytes:
    """The server's passphrase, from the key manager.

    :raises TpmKeyUnavailable, CredentialsInvalid: as :func:`unlocked`
    """
    try:
        return work.tools.keys.secret(work.context, known, own=mode(work) == DEPLOYMENT)
    except (RequestTokenExpired, VolumeKeyUnavailable) as error:
        raise _unavailable(work, error) from None


def _unavailable(work: Work, error: NovaLiteError) -> TpmKeyUnavailable:
    owner = (_OWNER,) if mode(work) == DEPLOYMENT else ()
    return TpmKeyUnavailable(work.uuid, error.message, *owner)


def is_kept(work: Work, known: str) -> bool:
    """Whether the hypervisor keeps the passphrase with this id for the server."""
    found = work.tools.hypervisor.tpm_secret(work.uuid)
    return found is not None and found[0] == known


# --- its end ------------------------------------------------------------------------------------
def leave(work: Work) -> None:
    """Have the hypervisor forget the passphrase of a server whose guest is not here any more."""
    if key_id(work) is not None:
        work.tools.hypervisor.forget_tpm_secret(work.uuid)


def forget_key(work: Work) -> None:
    """Delete the key of a server that is deleted; who may not do so leaves it, with a warning."""
    leave(work)  # of a start that was cut off
    _delete(work, work.server.flavor)


def settle(work: Work, before: Flavor, after: Flavor) -> None:
    """Delete the key of a server that had a TPM and is to have none any more, when a resize or its
    revert is over, as stock does. A key that cannot be deleted stays noted, for the server's end.

    :param before: the flavor that the key was made for; ``after`` the one that the server has
    """
    if key_id(work) is None or not _has_tpm(work, before) or _has_tpm(work, after):
        return
    leave(work)
    if _delete(work, before):
        kept = {name: value for name, value in work.instance["system_metadata"].items()
                if name != KEY}  # fmt: skip
        work.tools.instances.save(work.context, work.instance, system_metadata=kept)


def _has_tpm(work: Work, flavor: Flavor) -> bool:
    found = Properties(replace(work.server, flavor=flavor)).agreed("tpm_version")
    return found is not None


def _delete(work: Work, flavor: Flavor) -> bool:
    known = key_id(work)
    if known is None:
        return True
    try:
        work.tools.keys.delete(work.context, known, own=_mode_of(flavor) == DEPLOYMENT)
    except NovaLiteError as error:
        LOG.warning("Key %s of the TPM of server %s stays in the key manager: %s",
                    known, work.uuid, error)  # fmt: skip
        return False
    return True
