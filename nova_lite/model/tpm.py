"""Whose the key of an emulated TPM is, as flavors say (``hw:tpm_secret_security``).

========== ==========================================================================
user       The server's user has it, and nobody else: the hypervisor forgets it when
           the guest has started
host       The user has it, and the host keeps a copy on disk as long as it has the
           server, which starts and moves without its user
deployment The user of the compute service has it: every host fetches it by itself
========== ==========================================================================

Names and meanings are those of ``[libvirt]supported_tpm_secret_security`` of nova 2026.1, before
which there is only the first one.
"""

from __future__ import annotations

EXTRA_SPEC = "hw:tpm_secret_security"
USER, HOST, DEPLOYMENT = MODES = ("user", "host", "deployment")
