"""Steps of assisted volume snapshots: of volumes that are files and in use by a guest.

Cinder creates an empty qcow2 overlay of the volume's file; the guest's disk is switched to the
overlay, and its backing file is the snapshot. Deleting a snapshot merges files of that chain. This
host reports its progress to Cinder as 90 %.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import qemu_img
from nova_lite.errors import (
    ControlPlaneUnavailable,
    GuestNotRunning,
    HypervisorError,
    InvalidVolume,
    NovaLiteError,
)
from nova_lite.services import quiesce, volumes
from nova_lite.services.volumes import attachment_of
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.wire import connection_info

LOG = logging.getLogger(__name__)

POLL = 0.5  # seconds between two looks
CINDER_S = 600.0  # Cinder itself gives a snapshot up after this


def volume_of(work: Work) -> str:
    return str(work.arguments["volume_id"])


def report(work: Work, snapshot_id: str, status: str) -> None:
    """Update the snapshot's status in Cinder; a refusal is only logged."""
    try:
        work.tools.cinder.update_snapshot_status(work.context, snapshot_id, status)
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.error("Cinder was not told that snapshot %s is %s: %s", snapshot_id, status, error)


class TakeOverlay(Step):
    """Switch the guest's disk to the overlay, with frozen file systems where possible."""

    name = "take_overlay"

    def do(self) -> None:
        work, info = self.work, self.work.arguments["create_info"]
        quiesce.thaw(work)
        if info.get("type") != "qcow2" or not info.get("snapshot_id"):
            raise InvalidVolume(
                f"Invalid volume: a snapshot of type {info.get('type')!r} with id "
                f"{info.get('snapshot_id')!r} cannot be taken; type qcow2 and an id are needed"
            )
        with quiesce.quiet(work, quiesce.wanted(work)):
            self.tools.hypervisor.overlay_disk(
                work.uuid, volume_of(work), file_name(info.get("new_file"))
            )

    def undo(self) -> None:
        quiesce.thaw(self.work)


class AwaitSnapshot(Step):
    """Wait until Cinder has finished its part."""

    name = "await_snapshot"

    def do(self) -> None:
        work = self.work
        snapshot_id = str(work.arguments["create_info"]["snapshot_id"])
        report(work, snapshot_id, "creating")
        clock = self.tools.clock
        deadline = clock.monotonic() + CINDER_S
        while self._status(snapshot_id) == "creating":
            if clock.monotonic() > deadline:
                LOG.warning("Cinder does not come to an end with snapshot %s", snapshot_id)
                return
            if clock.wait(work.cancelled, POLL):
                raise Interrupted

    def _status(self, snapshot_id: str) -> Any:
        try:
            return self.tools.cinder.snapshot(self.work.context, snapshot_id).get("status")
        except InvalidVolume:
            return None  # it is gone


class MergeFiles(Step):
    """Merge the files of the disk's chain between which the snapshot is deleted."""

    name = "merge_files"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        info = work.arguments["delete_info"]
        merged, target = info.get("file_to_merge"), info.get("merge_target_file")
        # Without a target they are merged into the file in use, down to the one that is named.
        self._top = file_name(merged) if target is not None else None
        self._base = file_name(target if target is not None else merged, optional=True) or None

    def done(self) -> bool:
        hypervisor, uuid = self.tools.hypervisor, self.work.uuid
        if hypervisor.merging(uuid, volume_of(self.work)):
            return False
        chain = [Path(path).name for path in hypervisor.disk_chain(uuid, volume_of(self.work))]
        if self._top is not None:
            return self._top not in chain
        return chain[1:2] == ([self._base] if self._base else [])

    def do(self) -> None:
        work, hypervisor = self.work, self.tools.hypervisor
        kind = work.arguments["delete_info"].get("type")
        if kind != "qcow2":
            raise InvalidVolume(f"Invalid volume: a snapshot of type {kind!r} cannot be deleted")
        try:
            hypervisor.begin_merge(work.uuid, volume_of(work), self._top, self._base)
        except GuestNotRunning:
            self._merge_at_rest()
            return
        while hypervisor.merging(work.uuid, volume_of(work)):
            if self.tools.clock.wait(work.cancelled, POLL):
                raise Interrupted
        if not self.done():
            raise HypervisorError(
                f"files of volume {volume_of(work)} could not be merged: is its storage full?"
            )

    def _merge_at_rest(self) -> None:
        (active,) = self.tools.hypervisor.disk_chain(self.work.uuid, volume_of(self.work))
        if self._top is not None:
            raise HypervisorError(
                f"file {self._top} is below the one that server {self.work.uuid} uses: start the "
                "server, then delete the snapshot"
            )
        qemu_img.rebase(Path(active), self._base)


class RefreshConnection(Step):
    """Save the connection_info with the file that the guest uses now."""

    name = "refresh_connection"

    def do(self) -> None:
        work, tools, volume_id = self.work, self.tools, volume_of(self.work)
        mapping = tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        if mapping is None:
            return
        before = volumes.connection_of(mapping)
        attachment = tools.cinder.attachment(work.context, attachment_of(mapping))
        now = connection_info.from_cinder(attachment, volume_id, before.multiattach)
        active = Path(tools.hypervisor.disk_chain(work.uuid, volume_id)[0]).name
        if now.data.get("name") not in (None, active):
            now = replace(now, data={**now.data, "name": active, "format": "qcow2"})
        data = tools.volumes.of(now).connect(now, work.uuid)
        text = connection_info.dump(connection_info.with_data(now, data))
        tools.block_devices.save(work.context, mapping, connection_info=text)


class ReportMerged(Step):
    """Report the merge to Cinder, which deletes the rest."""

    name = "report_merged"

    def do(self) -> None:
        report(self.work, str(self.work.arguments["snapshot_id"]), "deleting")


def file_name(name: Any, *, optional: bool = False) -> str:
    """Check the name of a file in the directory of the volume's; empty for an optional one.

    :raises InvalidVolume: there is no name, or it has a path
    """
    if name is None and optional:
        return ""
    if not isinstance(name, str) or not name or name in (".", "..") or Path(name).name != name:
        raise InvalidVolume(f"Invalid volume: {name!r} is not a file beside the volume's")
    return name
