"""What hosts ask of each other when a server moves, as data.

Facts of nova/compute/rpcapi.py (2025.1 to 2026.2): kind, topic, timeout and arguments of each
method. All of them are sent in version 6.0, unless they carry an argument that is younger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite.peers.versions import OLDEST, Version


@dataclass(frozen=True)
class Younger:
    """An argument that came after its method: left out for a host that does not know it.

    ``means``: the value that leaving it out means; any other value is refused for such a host.
    """

    version: Version
    means: Any


@dataclass(frozen=True)
class Method:
    """One method: ``call`` waits for its answer, a cast does not.

    ``alt``: the topic is compute-alt where the host has it. ``long``: long_rpc_timeout, with call
    monitoring.
    """

    arguments: tuple[str, ...]
    call: bool = False
    alt: bool = False
    long: bool = False
    version: Version = OLDEST
    younger: Mapping[str, Younger] = field(default_factory=dict)


METHODS: Mapping[str, Method] = {
    # Cold migration and resize.
    "prep_resize": Method(
        ("instance", "flavor", "image", "request_spec", "filter_properties", "node", "migration",
         "clean_shutdown", "host_list")
    ),
    "resize_instance": Method(
        ("instance", "migration", "image", "flavor", "clean_shutdown", "request_spec"), alt=True
    ),
    "finish_resize": Method(
        ("instance", "migration", "image", "disk_info", "request_spec"), alt=True
    ),
    "confirm_resize": Method(("instance", "migration")),
    "revert_resize": Method(("instance", "migration", "request_spec")),
    "finish_revert_resize": Method(("instance", "migration", "request_spec"), alt=True),
    "check_instance_shared_storage": Method(("data",), call=True, alt=True),
    # Live migration.
    "check_can_live_migrate_destination": Method(
        ("instance", "block_migration", "disk_over_commit", "migration", "limits"),
        call=True, long=True,
    ),
    "check_can_live_migrate_source": Method(("instance", "dest_check_data"), call=True),
    "live_migration": Method(
        ("instance", "dest", "block_migration", "migrate_data", "migration"), alt=True
    ),
    "pre_live_migration": Method(
        ("instance", "disk", "migrate_data"), call=True, alt=True, long=True
    ),
    "post_live_migration_at_destination": Method(
        ("instance", "block_migration"), call=True, alt=True, long=True
    ),
    "rollback_live_migration_at_destination": Method(
        ("instance", "destroy_disks", "migrate_data"), alt=True
    ),
    "drop_move_claim_at_destination": Method(("instance",), call=True, alt=True),
    "remove_volume_connection": Method(
        ("instance", "volume_id", "delete_attachment"), call=True, alt=True,
        younger={"delete_attachment": Younger((6, 3), means=False)},
    ),
    # Cross-cell resize.
    "prep_snapshot_based_resize_at_dest": Method(
        ("instance", "flavor", "nodename", "migration", "limits"), call=True, long=True
    ),
    "prep_snapshot_based_resize_at_source": Method(
        ("instance", "migration", "snapshot_id"), call=True, alt=True, long=True
    ),
    "finish_snapshot_based_resize_at_dest": Method(
        ("instance", "migration", "snapshot_id"), call=True, alt=True, long=True
    ),
    "confirm_snapshot_based_resize_at_source": Method(
        ("instance", "migration"), call=True, long=True
    ),
    "revert_snapshot_based_resize_at_dest": Method(
        ("instance", "migration"), call=True, long=True
    ),
    "finish_revert_snapshot_based_resize_at_source": Method(
        ("instance", "migration"), call=True, alt=True, long=True
    ),
}  # fmt: skip
