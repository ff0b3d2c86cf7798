"""pre_live_migration: this host prepares for a running server that is about to come.

The host that has it asks, and waits: what the server needs here is claimed, its directory and disks
are made, its interfaces plugged, its TPM unlocked, its volumes connected. The answer tells where
consoles listen and how volumes are reached here, so that the other host can say to libvirt what the
guest becomes.

Resume rule: forward; a caller that asks again gets the same answer. Roll back: every step is
undone, and nothing of the server is left here. Whether the guest has come is not this verb's
business: ``post_live_migration_at_destination`` or ``rollback_live_migration_at_destination``
follows.
"""

from __future__ import annotations

import logging

from nova_lite.errors import MoveSuperseded, Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.services import arrivals, guest, migrate_data
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.live.prepare import (
    ClaimArriving,
    MakeArrivingFiles,
    PlugArriving,
    to_unlock,
)
from nova_lite.steps.live.volumes import (
    AttachArriving,
    CompleteArriving,
    moved_volumes,
    replaced,
)
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class PreLiveMigration(Operation):
    event = "compute_pre_live_migration"
    requires = {"disk": object, "migrate_data": WireObject}
    answers = True
    answer_ends_with_boot = True
    pool = "builds"  # images may have to be fetched
    places = ANYWHERE  # it is another host's server
    notifies = "live_migration_pre"
    notifies_mappings = True
    between_hosts = True
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._migration: WireObject | None = None
        self._infos: dict[str, str | None] = {}

    def load(self) -> None:
        migrate_data.read(self.work.arguments["migrate_data"])
        self._migration = arrivals.require_coming(self.work)

    def plan(self) -> Plan:
        work, about = self.work, (self.work.arguments["migrate_data"], self._migration)
        return [
            (ClaimArriving(work, *about),),
            (
                MakeArrivingFiles(work, *about),
                PlugArriving(work, *about),
                *to_unlock(work, *about),
            ),
            (AttachArriving(work, self._infos),),
            (CompleteArriving(work),),
            COMPLETE,
        ]

    def answer(self) -> WireObject:
        work, conf, policy = self.work, self.tools.conf, self.tools.policy
        data = migrate_data.read(work.arguments["migrate_data"])
        address = conf.libvirt.live_migration_inbound_addr
        waits = conf.compute.live_migration_wait_for_vif_plug and migrate_data.is_bound(data)
        migrate_data.drop_tpm_secret(data)
        migrate_data.write_volumes(data, moved_volumes(work))
        data.set(
            old_vol_attachment_ids=replaced(work),
            target_connect_addr=str(address).replace("%s", self.tools.host) if address else None,
            supported_perf_events=list(policy.perf_events),
            serial_listen_ports=list(guest.serial_ports(work, work.server)),
            wait_for_vif_plugged=bool(waits),
        )
        return data

    def failed(self, failure: Failure) -> None:
        """The caller gets the error, and ends the migration; the server runs on where it is."""
        if failure.nova_name == MoveSuperseded.nova_name or failure.verdict is Verdict.GONE:
            LOG.info("Server %s does not come to this host: %s", self.work.uuid, failure.message)
            return
        self.tell(failure)
        self.tools.usage_changed()
