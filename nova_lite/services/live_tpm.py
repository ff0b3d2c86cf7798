"""The key of an emulated TPM, while its server goes to another host and runs.

libvirt opens the TPM over there before the guest comes, and whoever has the server migrated may not
have its user's key. So it depends on whose key it is (``services/tpm.py``):

* ``user``: such a server stays, as nova-api says, too.
* ``host``: the host that has the server sends the passphrase that it keeps, in
  LibvirtLiveMigrateData (1.14), as stock does: in its answer to
  ``check_can_live_migrate_source``. It is on no disk on its way: journals and remembered answers
  are without it. So it is read from the hypervisor, and sent, once more with
  ``pre_live_migration``, whatever became of the first one. The other host holds that message's
  passphrase in its runtime directory until the hypervisor has it, on disk, from where a process
  that goes on takes it. Where its power fails in between, the migration fails, and can be asked for
  again. Its own answer is without it.
* ``deployment``: nothing is sent. The host that gets the server asks the key manager by itself, and
  the hypervisor has it in memory until the guest has come. nova-api (2026.1, 2026.2) lets no user
  ask for that, and a stock host that gets such a server does not fetch its key.

What the host that the server does not come to, or has left, has of it goes with the rest
(``steps/live/give_up.py``, ``leave.py``).
"""

from __future__ import annotations

from nova_lite.errors import LiveMigrationFailed, LiveMigrationRefused
from nova_lite.model.tpm import DEPLOYMENT, HOST, USER
from nova_lite.services import migrate_data, tpm
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

# Service version of the first release with such migrations, 2026.1 (MIN_COMPUTE_VTPM_LIVE_MIGRATION
# of nova/compute/api.py).
SINCE = 72


# --- the host that is to get the server ---------------------------------------------------------
def refuse_here(work: Work, source: str) -> None:
    """Refuse a server whose TPM could not be opened on this host.

    :param source: the host that has the server
    :raises LiveMigrationRefused: the message says why
    """
    if not tpm.wanted(work):
        return
    _refuse_of_user(work)
    for host in (work.tools.host, source):
        if not work.tools.peers.reports(work.context, host, SINCE):
            raise _too_old(work, f"host {host} is of an older release")


def take_in(work: Work, data: WireObject) -> None:
    """Let the hypervisor have what opens the TPM when the guest comes; may be repeated.

    :raises LiveMigrationFailed: the other host has not sent it, and it is not here
    :raises TpmKeyUnavailable, CredentialsInvalid: as of ``tpm.unlocked``
    """
    known, hypervisor = tpm.key_id(work), work.tools.hypervisor
    if known is None or not tpm.wanted(work):
        return
    whose = tpm.mode(work)
    if whose == DEPLOYMENT:
        hypervisor.set_tpm_secret(work.uuid, known, tpm.passphrase(work, known))
    elif whose == HOST:
        told = migrate_data.tpm_secret(data)
        if told is not None:
            hypervisor.set_tpm_secret(work.uuid, *told, kept=True)
        elif not tpm.is_kept(work, known):
            raise LiveMigrationFailed(
                f"host {work.tools.host} has not got the passphrase of the TPM of server "
                f"{work.uuid}, or lost it in a power failure: migrate the server again"
            )


def has_come(work: Work) -> None:
    """Keep nothing of a guest that runs here but what this host is to keep."""
    if tpm.mode(work) != HOST:
        tpm.leave(work)


# --- the host that has the server ---------------------------------------------------------------
def hand_over(work: Work, data: WireObject) -> None:
    """Write down what opens the TPM of the server on the other host; null for a key that goes its
    own way, as in stock.

    :raises LiveMigrationRefused: the server stays, or this host does not have its passphrase
    """
    if not tpm.wanted(work):
        return
    _refuse_of_user(work)
    if not migrate_data.knows_tpm(data):
        raise _too_old(work, "the other host, or the control plane, is of an older release")
    secret = None
    if tpm.mode(work) == HOST:
        secret = work.tools.hypervisor.tpm_secret(work.uuid)
        if secret is None:
            raise LiveMigrationRefused(
                f"host {work.tools.host} does not keep the passphrase of the TPM of server "
                f"{work.uuid}: its user can reboot it hard, which brings it back"
            )
    try:
        migrate_data.write_tpm_secret(data, secret)
    except UnicodeDecodeError:
        raise LiveMigrationRefused(
            f"the passphrase of the TPM of server {work.uuid} is none that nova has made: it is no "
            "text, and cannot be sent"
        ) from None


# --- both ---------------------------------------------------------------------------------------
def _refuse_of_user(work: Work) -> None:
    """Refuse a server whose passphrase only its user gets from the key manager: its TPM cannot be
    opened on another host without it.

    :raises LiveMigrationRefused: it is such a server
    """
    if tpm.mode(work) == USER:
        raise LiveMigrationRefused(
            f"server {work.uuid} has an emulated TPM, whose key is its user's: it can be migrated "
            "while it is off"
        )


def _too_old(work: Work, why: str) -> LiveMigrationRefused:
    return LiveMigrationRefused(
        f"server {work.uuid} has an emulated TPM: vTPM live migration is not supported before "
        f"2026.1, and {why}; upgrade it, or migrate the server while it is off"
    )
