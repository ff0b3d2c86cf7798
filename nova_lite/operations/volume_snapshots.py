"""volume_snapshot_create and volume_snapshot_delete: assisted snapshots of volumes that are files.

Neither has an action event nor a fault, as in nova-compute: the result is reported to Cinder as the
status of the snapshot. Resume rule: forward; the backing chain of the guest's disk shows what is
still to be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import COMPLETE, Plan
from nova_lite.steps.volume.snapshots import (
    AwaitSnapshot,
    MergeFiles,
    RefreshConnection,
    ReportMerged,
    TakeOverlay,
    report,
)


class VolumeSnapshotCreate(Operation):
    event = None
    requires = {"volume_id": str, "create_info": dict}
    pool = "snapshots"
    last_resort = {}

    def load(self) -> None:
        if self.work.resumed or "system_metadata" not in self.work.instance:
            self.work.reload()

    def plan(self) -> Plan:
        work = self.work
        return [(TakeOverlay(work),), (AwaitSnapshot(work),), (RefreshConnection(work),), COMPLETE]

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        info = arguments["create_info"]
        return str(info.get("snapshot_id") or arguments["volume_id"])

    def failed(self, failure: Failure) -> None:
        snapshot_id = self.work.arguments["create_info"].get("snapshot_id")
        if snapshot_id:
            report(self.work, str(snapshot_id), "error")


class VolumeSnapshotDelete(Operation):
    event = None
    requires = {"volume_id": str, "snapshot_id": object, "delete_info": dict}
    pool = "snapshots"
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["snapshot_id"])

    def plan(self) -> Plan:
        work = self.work
        return [(MergeFiles(work),), (RefreshConnection(work),), (ReportMerged(work),)]

    def failed(self, failure: Failure) -> None:
        report(self.work, str(self.work.arguments["snapshot_id"]), "error_deleting")
