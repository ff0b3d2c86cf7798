"""Options that nova-compute reads and this agent does not, as of nova 34 (2026.2) and down to 31.

A row says what that means on a host and what to do. How the rows are used, and which options have
none, is in ``unread``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


class Effect(enum.Enum):
    """What it means that the option is not read."""

    REFUSED = "refused"  # data, safety or capacity would be lost: the agent does not start
    LOST = "lost"  # something that nova-compute does is not done
    NONE = "none"  # it steers something that this agent does not have or does without it


@dataclass(frozen=True)
class Unread:
    """``means``: what follows. ``remedy``: what to do. ``same``: values that change nothing."""

    effect: Effect
    means: str
    remedy: str
    same: tuple[str, ...] = ()

    def same_as(self, values: Sequence[str]) -> bool:
        """Whether nova-compute does with these values what this agent does anyway."""
        return all(_plain(value) in self.same for value in values)


_FALSE = frozenset({"false", "no", "off", "0"})


def _plain(value: str) -> str:
    text = value.strip().strip("'\"").lower()
    return "false" if text in _FALSE else text


def _refused(means: str, remedy: str, same: str = "") -> Unread:
    return Unread(Effect.REFUSED, means, remedy, ("", same) if same else ("",))


def _lost(means: str, remedy: str = "take it out, or run nova-compute here", *same: str) -> Unread:
    return Unread(Effect.LOST, means, remedy, same)


def _none(means: str, *same: str) -> Unread:
    return Unread(Effect.NONE, means, "it can stay for nova-compute", same)


def _all(names: Iterable[str], row: Unread) -> dict[str, Unread]:
    return dict.fromkeys(names, row)


RUN_NOVA = "take it out, or run nova-compute on this host"
_OFF = "false"
_THREADS = _none("the agent's workers are native threads in pools of its own")
_ROOT = _none("the agent runs as root and needs no rootwrap")
_TDX = _refused(
    "the agent has no guests with Intel TDX, whose number it would have to count",
    RUN_NOVA,
    _OFF,
)
_INJECTION = "the agent writes nothing into disks"
_INJECT_REMEDY = "use config drives or the metadata service, and take it out"
_LVM = _none("it counts with images_type = lvm only, which the agent refuses")
_VOLUMES = _lost("volumes of this kind cannot be attached here", RUN_NOVA)
_LXC = _none("it counts with virt_type = lxc only, which the agent refuses")
_CYBORG = _lost("servers with accelerators of Cyborg are not supported", RUN_NOVA)
_LOCAL_ENCRYPTION = _none("it counts with ephemeral encryption only, which the agent does not do")
_GLANCE_RBD = _lost(
    "images are read through Glance's API, not from its Ceph pool",
    "nothing has to be done; with [libvirt]images_type = rbd raw images are cloned",
)
_NUMA_NETWORKS = _lost("servers are placed on NUMA nodes without regard to their networks")

_DEFAULT = {
    "vcpu_pin_set": _refused(
        "CPUs that are kept for the host would be given to servers",
        "say the same in [compute]cpu_shared_set, or in cpu_dedicated_set for pinned servers",
    ),
    "servicegroup_driver": _refused(
        "the agent reports itself in the database alone; services that look into memcached would "
        "take this host for dead, and its servers may be evacuated while they run",
        "set servicegroup_driver = db in all services of the cloud",
        "db",
    ),
    "compute_monitors": _lost(
        "no metrics of the host are reported for the scheduler's MetricsWeigher", RUN_NOVA, ""
    ),
    "arq_binding_timeout": _CYBORG,
    "injected_network_template": _lost(
        "the injected network configuration on config drives has the form of nova's own template",
        "take it out, or leave it where it names nova's own file",
    ),
    "virt_mkfs": _lost(
        "ephemeral disks are formatted as default_ephemeral_format says",
        "set default_ephemeral_format, and take it out",
        "",
    ),
    "resize_fs_using_block_device": _lost(
        "file systems inside of images are not resized", "let cloud-init do so", _OFF
    ),
    "timeout_nbd": _none(_INJECTION),
    "live_migration_retry_count": _none(
        "interfaces that cannot be plugged for a server that comes are no matter of time: the "
        "server stays where it is, and says why"
    ),
    "stale_share_access_reconcile_interval": _none(
        "an interrupted change of shares is completed from the journal"
    ),
    "backdoor_port": _lost("there is no debugging console", "take it out"),
    "backdoor_socket": _lost("there is no debugging console", "take it out"),
    "log_options": _none("the agent does not log its options"),
    "run_external_periodic_tasks": _none("the agent has no such tasks"),
    "periodic_fuzzy_delay": _none("periodic work begins when the agent is up"),
    "sync_power_state_pool_size": _none("the agent asks libvirt once for all guests"),
    "tempdir": _none("what is made for a server is made in its directory"),
    "manager_shutdown_timeout": _none("graceful_shutdown_timeout says how long a stop may take"),
    **_all(
        (
            "cell_worker_thread_pool_size", "concurrency_backend", "default_green_pool_size",
            "default_thread_pool_size", "thread_pool_statistic_period",
        ),
        _THREADS,
    ),
    "rootwrap_config": _ROOT,
    "use_rootwrap_daemon": _ROOT,
}  # fmt: skip

_LIBVIRT = {
    "num_intel_tdx_guests": _TDX,
    "pmem_namespaces": _refused(
        "servers lose their persistent memory when they are defined anew", RUN_NOVA
    ),
    "num_memory_encrypted_guests": _lost(
        "the agent has no guests with encrypted memory (AMD SEV)", RUN_NOVA
    ),
    "inject_key": _lost(_INJECTION, _INJECT_REMEDY, _OFF),
    "inject_password": _lost(_INJECTION, _INJECT_REMEDY, _OFF),
    "inject_partition": _lost(_INJECTION, _INJECT_REMEDY, "-2"),
    **_all(("gid_maps", "uid_maps"), _LXC),
    **_all(
        (
            "images_volume_group", "sparse_logical_volumes", "volume_clear", "volume_clear_size",
        ),
        _LVM,
    ),
    **_all(
        (
            "quobyte_client_cfg", "quobyte_mount_point_base", "vzstorage_cache_path",
            "vzstorage_log_path", "vzstorage_mount_group", "vzstorage_mount_opts",
            "vzstorage_mount_perms", "vzstorage_mount_point_base", "vzstorage_mount_user",
        ),
        _VOLUMES,
    ),
    "live_migration_tunnelled": _lost(
        "memory goes from QEMU to QEMU, not through the connection of libvirt",
        "set live_migration_with_native_tls, which encrypts disks, too",
        _OFF,
    ),
}  # fmt: skip

_WORKAROUNDS = {
    "disable_rootwrap": _ROOT,
    "disable_compute_service_check_for_ffu": _none(
        "the agent chooses the service version that the control plane takes"
    ),
    "disable_deep_image_inspection": _lost(
        "images are always inspected before they are used", "take it out", _OFF
    ),
    "ensure_libvirt_rbd_instance_dir_cleanup": _none(
        "the directory of a server that is gone is always removed, unless another host has it"
    ),
    "skip_cpu_compare_at_startup": _none("the agent compares no CPU models when it starts"),
}

# Group (or pattern of groups) -> option, or * for all others -> row.
TABLE: Mapping[str, Mapping[str, Unread]] = {
    "DEFAULT": _DEFAULT,
    "compute": {
        "sharing_providers_max_uuids_per_request": _none("the agent asks for its own provider"),
        "update_resources_max_workers": _none("the agent has one node"),
    },
    "cyborg": {"*": _CYBORG},
    "devices": {
        "enabled_mdev_types": _refused(
            "servers lose their virtual GPUs when they are defined anew", RUN_NOVA
        )
    },
    "mdev_*": {"*": _none("it counts with [devices]enabled_mdev_types only")},
    "vgpu_*": {"*": _none("it counts with [devices]enabled_mdev_types only")},
    "ephemeral_storage_encryption": {
        "enabled": _refused(
            "local disks that users believe to be encrypted would be written in the clear",
            RUN_NOVA,
            _OFF,
        ),
        "*": _LOCAL_ENCRYPTION,
    },
    "glance": {
        "debug": _none("calls to Glance are logged with the agent's own debug"),
        "enable_rbd_download": Unread(
            Effect.LOST, _GLANCE_RBD.means, _GLANCE_RBD.remedy, (_OFF,)
        ),
        **_all(("rbd_ceph_conf", "rbd_connect_timeout", "rbd_pool", "rbd_user"), _GLANCE_RBD),
    },
    "guestfs": {"*": _none(_INJECTION)},
    "libvirt": _LIBVIRT,
    "neutron": {
        "extension_sync_interval": _none("the agent asks for no extensions of Neutron"),
        "physnets": _NUMA_NETWORKS,
    },
    "neutron_physnet_*": {"*": _NUMA_NETWORKS},
    "neutron_tunnel": {"*": _NUMA_NETWORKS},
    "oslo_reports": {"*": _lost("there are no Guru Meditation Reports", "take it out")},
    "oslo_versionedobjects": {"*": _none("the agent has its own objects")},
    "pci": {
        "alias": _refused(
            "servers lose their PCI devices when they are defined anew",
            "run nova-compute on this host; if it has no such devices, take alias out of the file "
            "of this host",
        ),
        "device_spec": _refused(
            "servers lose their PCI devices when they are defined anew, and the devices are not "
            "offered any more",
            RUN_NOVA,
        ),
        "report_in_placement": _lost("PCI devices are not supported", RUN_NOVA, _OFF),
    },
    "profiler": {
        "enabled": _lost("requests are not traced by osprofiler", "take it out", _OFF),
        "*": _none("it counts with [profiler]enabled only"),
    },
    "profiler_*": {"*": _none("it counts with [profiler]enabled only")},
    "upgrade_levels": _all(
        ("baseapi", "conductor", "scheduler"),
        _none("other services are spoken to in versions that all supported releases have"),
    ),
    "workarounds": _WORKAROUNDS,
}  # fmt: skip

# Former names, as nova still reads them, of options in the table.
ALIASES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("DEFAULT", "pci_alias"): ("pci", "alias"),
    ("DEFAULT", "pci_passthrough_whitelist"): ("pci", "device_spec"),
    ("pci", "passthrough_whitelist"): ("pci", "device_spec"),
    ("profiler", "profiler_enabled"): ("profiler", "enabled"),
    ("devices", "enabled_vgpu_types"): ("devices", "enabled_mdev_types"),
}
