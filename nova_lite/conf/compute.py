"""Options of [compute]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "compute"

CPU_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cpu_shared_set",
        help="Host CPUs for servers with shared CPUs: 4-12,^8,15. Unset: all, unless "
        "cpu_dedicated_set is set.",
    ),
    cfg.StrOpt(
        "cpu_dedicated_set",
        help="Host CPUs for servers with dedicated CPUs: 4-12,^8,15. Unset: none.",
    ),
    cfg.BoolOpt(
        "packing_host_numa_cells_allocation_strategy",
        default=False,
        help="Fill one NUMA node after the other instead of taking the emptiest first.",
    ),
]

PLACEMENT_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "resource_provider_association_refresh",
        default=300,
        min=0,
        mutable=True,
        help="Seconds for which what was read from Placement is believed; 0: for ever (until "
        "SIGHUP).",
    ),
    cfg.StrOpt(
        "provider_config_location",
        default="/etc/nova/provider_config/",
        help="Directory of YAML files with further inventories and traits of this host.",
    ),
]

DISK_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "max_disk_devices_to_attach",
        default=-1,
        min=-1,
        help="Disks that one server may have; -1: as many as the bus takes.",
    ),
    cfg.IntOpt(
        "max_concurrent_disk_ops",
        default=0,
        min=0,
        help="Image downloads and conversions that run at once; 0: no limit.",
    ),
    cfg.ListOpt(
        "image_type_exclude_list",
        default=[],
        help="Disk formats of images that this host does not offer, as in raw,qcow2.",
    ),
    cfg.ListOpt(
        "vmdk_allowed_types",
        default=["streamOptimized", "monolithicSparse"],
        help="VMDK subformats accepted from Glance; others could refer to files of the host.",
    ),
]

BUILD_OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "consecutive_build_service_disable_threshold",
        default=10,
        help="Report builds that failed in a row, for which the scheduler avoids this host: any "
        "number but 0.",
    ),
    cfg.IntOpt(
        "shutdown_retry_interval",
        default=10,
        min=1,
        help="Seconds between two requests to a guest to power itself off.",
    ),
]

MOVE_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "live_migration_wait_for_vif_plug",
        default=True,
        help="Whether a server that comes here while it runs is not sent before Neutron has wired "
        "up its ports here (network-vif-plugged). Read on the host that it comes to.",
    ),
]

OPTS: list[cfg.Opt] = [*CPU_OPTS, *PLACEMENT_OPTS, *DISK_OPTS, *BUILD_OPTS, *MOVE_OPTS]
