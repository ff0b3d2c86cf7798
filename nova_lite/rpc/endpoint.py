"""The table of the compute RPC API: method -> what it needs -> who does it.

Read it top to bottom to know what this agent answers. A row with neither ``operation`` nor
``handler`` is a method that the control plane may send and that is not supported yet: callers get
HTTP 501, casts end in a fault and a clear task state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.operations.abort_live_migration import AbortLiveMigration
from nova_lite.operations.attach_interface import AttachInterface
from nova_lite.operations.attach_volume import AttachVolume
from nova_lite.operations.base import Operation
from nova_lite.operations.boot import Boot
from nova_lite.operations.check_live_migration import (
    CheckLiveMigrationDestination,
    CheckLiveMigrationSource,
)
from nova_lite.operations.confirm_resize import ConfirmResize
from nova_lite.operations.confirm_snapshot_resize_at_source import ConfirmSnapshotResizeAtSource
from nova_lite.operations.crash_dump import TriggerCrashDump
from nova_lite.operations.delete import Delete
from nova_lite.operations.detach_deleted_port import DetachDeletedPort
from nova_lite.operations.detach_interface import DetachInterface
from nova_lite.operations.detach_volume import DetachVolume
from nova_lite.operations.extend_volume import ExtendVolumes
from nova_lite.operations.finish_resize import FinishResize
from nova_lite.operations.finish_revert_resize import FinishRevertResize
from nova_lite.operations.finish_revert_snapshot_resize_at_source import (
    FinishRevertSnapshotResizeAtSource,
)
from nova_lite.operations.finish_snapshot_resize_at_dest import FinishSnapshotResizeAtDest
from nova_lite.operations.fixed_ips import AddFixedIpToServer, RemoveFixedIpFromServer
from nova_lite.operations.force_live_migration import ForceLiveMigration
from nova_lite.operations.inject_network_info import InjectNetworkInfo
from nova_lite.operations.live_migration import LiveMigration
from nova_lite.operations.pause import Pause, Unpause
from nova_lite.operations.post_live_migration import PostLiveMigration
from nova_lite.operations.pre_live_migration import PreLiveMigration
from nova_lite.operations.prep_resize import PrepResize
from nova_lite.operations.prep_snapshot_resize_at_dest import PrepSnapshotResizeAtDest
from nova_lite.operations.prep_snapshot_resize_at_source import PrepSnapshotResizeAtSource
from nova_lite.operations.quiesce import Quiesce, Unquiesce
from nova_lite.operations.reboot import Reboot
from nova_lite.operations.rebuild import Rebuild
from nova_lite.operations.remove_evacuated import RemoveEvacuated
from nova_lite.operations.remove_kept import RemoveKept
from nova_lite.operations.remove_lost_arrival import RemoveLostArrival
from nova_lite.operations.remove_partial import RemovePartial
from nova_lite.operations.remove_volume_connection import RemoveVolumeConnection
from nova_lite.operations.rescue import Rescue
from nova_lite.operations.reserve_block_device_name import ReserveBlockDeviceName
from nova_lite.operations.resize import Resize
from nova_lite.operations.revert_resize import RevertResize
from nova_lite.operations.revert_snapshot_resize_at_dest import RevertSnapshotResizeAtDest
from nova_lite.operations.rollback_live_migration import RollbackLiveMigration
from nova_lite.operations.set_admin_password import SetAdminPassword
from nova_lite.operations.settle_live_migration import SettleLiveMigration
from nova_lite.operations.settle_move import SettleMove
from nova_lite.operations.shares import AllowShare, DenyShare
from nova_lite.operations.shelve import Shelve
from nova_lite.operations.shelve_offload import ShelveOffload
from nova_lite.operations.snapshot import Backup, Snapshot
from nova_lite.operations.soft_delete import Restore, SoftDelete
from nova_lite.operations.start import Start
from nova_lite.operations.stop import Stop
from nova_lite.operations.suspend import Resume, Suspend
from nova_lite.operations.swap_volume import SwapVolume
from nova_lite.operations.unrescue import Unrescue
from nova_lite.operations.unshelve import Unshelve
from nova_lite.operations.volume_snapshots import VolumeSnapshotCreate, VolumeSnapshotDelete
from nova_lite.rpc.dispatch import Route, Unsupported
from nova_lite.wire.objects import WireObject

OPERATIONS: Mapping[str, type[Operation]] = {
    "build_and_run_instance": Boot,
    "terminate_instance": Delete,
    "stop_instance": Stop,
    "start_instance": Start,
    "reboot_instance": Reboot,
    "shelve_instance": Shelve,
    "shelve_offload_instance": ShelveOffload,
    "unshelve_instance": Unshelve,
    "snapshot_instance": Snapshot,
    "backup_instance": Backup,
    "pause_instance": Pause,
    "unpause_instance": Unpause,
    "suspend_instance": Suspend,
    "resume_instance": Resume,
    "trigger_crash_dump": TriggerCrashDump,
    "set_admin_password": SetAdminPassword,
    "quiesce_instance": Quiesce,
    "unquiesce_instance": Unquiesce,
    "inject_network_info": InjectNetworkInfo,
    "add_fixed_ip_to_instance": AddFixedIpToServer,
    "remove_fixed_ip_from_instance": RemoveFixedIpFromServer,
    "soft_delete_instance": SoftDelete,
    "restore_instance": Restore,
    "rescue_instance": Rescue,
    "unrescue_instance": Unrescue,
    "rebuild_instance": Rebuild,
    "reserve_block_device_name": ReserveBlockDeviceName,
    "attach_volume": AttachVolume,
    "detach_volume": DetachVolume,
    "swap_volume": SwapVolume,
    "remove_volume_connection": RemoveVolumeConnection,
    "volume_snapshot_create": VolumeSnapshotCreate,
    "volume_snapshot_delete": VolumeSnapshotDelete,
    "attach_interface": AttachInterface,
    "detach_interface": DetachInterface,
    "allow_share": AllowShare,
    "deny_share": DenyShare,
    "prep_resize": PrepResize,
    "resize_instance": Resize,
    "finish_resize": FinishResize,
    "confirm_resize": ConfirmResize,
    "revert_resize": RevertResize,
    "finish_revert_resize": FinishRevertResize,
    # The same between cells; nova-conductor calls each of the two hosts.
    "prep_snapshot_based_resize_at_dest": PrepSnapshotResizeAtDest,
    "prep_snapshot_based_resize_at_source": PrepSnapshotResizeAtSource,
    "finish_snapshot_based_resize_at_dest": FinishSnapshotResizeAtDest,
    "confirm_snapshot_based_resize_at_source": ConfirmSnapshotResizeAtSource,
    "revert_snapshot_based_resize_at_dest": RevertSnapshotResizeAtDest,
    "finish_revert_snapshot_based_resize_at_source": FinishRevertSnapshotResizeAtSource,
    "check_can_live_migrate_destination": CheckLiveMigrationDestination,
    "check_can_live_migrate_source": CheckLiveMigrationSource,
    "pre_live_migration": PreLiveMigration,
    "post_live_migration_at_destination": PostLiveMigration,
    "rollback_live_migration_at_destination": RollbackLiveMigration,
    "live_migration": LiveMigration,
    "live_migration_abort": AbortLiveMigration,
    "live_migration_force_complete": ForceLiveMigration,
}

# What no method asks for, but an event from outside, and the records of this host.
VERBS: Mapping[str, type[Operation]] = {
    **OPERATIONS,
    "detach_deleted_port": DetachDeletedPort,
    "extend_volumes": ExtendVolumes,
    "remove_evacuated": RemoveEvacuated,
    "remove_kept": RemoveKept,
    "remove_lost_arrival": RemoveLostArrival,
    "remove_partial": RemovePartial,
    "settle_live_migration": SettleLiveMigration,
    "settle_move": SettleMove,
}

# Handlers that wait for nothing but the journal: what others wait for must not be behind a hang.
PROMPT = frozenset({"external_instance_event"})

NOT_YET = ("host_maintenance_mode", "host_power_action")


def routes(handlers: Mapping[str, Callable[..., Any]]) -> dict[str, Route]:
    """The whole table; ``handlers`` are the methods answered at once, by name."""
    table = {method: Route(unsupported=Unsupported) for method in NOT_YET}
    for method, verb in OPERATIONS.items():
        table[method] = Route(
            {"instance": WireObject, **verb.requires},
            operation=method,
            answers=verb.answers,
            task_state=verb.called_with_task_state,
        )
    for method, handler in handlers.items():
        table[method] = Route(handler=handler, prompt=method in PROMPT)
    return table


def base_routes() -> dict[str, Route]:
    """Namespace ``baseapi``, version 1.1."""
    return {
        "ping": Route(
            handler=lambda context, arg: {"service": "compute", "arg": arg}, prompt=True
        ),
        "get_backdoor_port": Route(handler=lambda context: None, prompt=True),
    }
