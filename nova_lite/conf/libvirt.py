"""Options of [libvirt].

Names, types, choices and defaults are those of nova.conf, so one file serves both agents.
"""

from __future__ import annotations

from oslo_config import cfg, types

GROUP = "libvirt"

_FLAG = types.String(ignore_case=True)

CONNECTION_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "virt_type",
        default="kvm",
        choices=["kvm", "lxc", "qemu", "parallels"],
        help="Kind of guests: kvm (hardware) or qemu (emulation). Others are refused at start.",
    ),
    cfg.StrOpt(
        "connection_uri",
        default="",
        help="libvirt URI; empty means the usual one of virt_type, qemu:///system.",
    ),
]

CPU_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cpu_mode",
        choices=["host-model", "host-passthrough", "custom", "none"],
        help="CPU shown to guests. Unset: host-model with kvm, none with qemu.",
    ),
    cfg.ListOpt(
        "cpu_models",
        default=[],
        deprecated_name="cpu_model",
        help="CPU models for cpu_mode=custom, most common first; see `virsh cpu-models ARCH`.",
    ),
    cfg.ListOpt(
        "cpu_model_extra_flags",
        item_type=_FLAG,
        default=[],
        help="CPU flags added (+flag or flag) to or removed (-flag) from the guests' CPU model.",
    ),
    cfg.IntOpt(
        "realtime_scheduler_priority",
        default=1,
        help="FIFO priority of the vCPU threads of real-time guests; higher preempts lower.",
    ),
    cfg.BoolOpt(
        "cpu_power_management",
        default=False,
        help="Power dedicated host CPUs down while no guest is pinned to them.",
    ),
    cfg.StrOpt(
        "cpu_power_management_strategy",
        default="cpu_state",
        choices=["cpu_state", "governor"],
        help="Take unused dedicated CPUs offline, or switch their frequency governor.",
    ),
    cfg.StrOpt(
        "cpu_power_governor_low",
        default="powersave",
        help="Governor of unused dedicated CPUs.",
    ),
    cfg.StrOpt(
        "cpu_power_governor_high",
        default="performance",
        help="Governor of dedicated CPUs in use.",
    ),
]

GUEST_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "hw_machine_type",
        help="Default machine types by architecture: x86_64=q35,aarch64=virt.",
    ),
    cfg.IntOpt(
        "num_pcie_ports",
        default=0,
        min=0,
        max=28,
        help="PCIe root ports of q35 and virt guests, the number of devices that can be plugged "
        "into them; 0 leaves it to libvirt.",
    ),
    cfg.IntOpt(
        "tb_cache_size",
        min=0,
        help="Size in MiB of QEMU's cache of translated code (virt_type=qemu); unset: QEMU's own.",
    ),
    cfg.StrOpt(
        "rng_dev_path",
        default="/dev/urandom",
        help="Host source of entropy behind the guests' random number device.",
    ),
    cfg.StrOpt(
        "sysinfo_serial",
        default="unique",
        choices=["none", "os", "hardware", "auto", "unique"],
        help="SMBIOS serial number of guests: none, the host's machine-id, the host's hardware "
        "UUID, the first of these two that exists, or the server's own UUID.",
    ),
    cfg.IntOpt(
        "mem_stats_period_seconds",
        default=10,
        help="Period of the guests' memory statistics; 0 or less turns them off.",
    ),
    cfg.ListOpt(
        "enabled_perf_events",
        default=[],
        help="Performance events recorded for each guest, by libvirt's names.",
    ),
    cfg.IntOpt(
        "file_backed_memory",
        default=0,
        min=0,
        help="MiB of file-backed memory offered to guests instead of RAM; 0 turns it off.",
    ),
    cfg.BoolOpt(
        "swtpm_enabled",
        default=False,
        help="Offer emulated TPMs by swtpm, which must be installed.",
    ),
    cfg.ListOpt(
        "supported_tpm_secret_security",
        default=["user", "host", "deployment"],
        help="To whom the key of an emulated TPM may belong on this host, as flavors say with "
        "hw:tpm_secret_security. user: to the server's user alone; host: to the user, and this "
        "host keeps a copy; deployment: to the compute service ([service_user]). Servers that ask "
        "for another one are refused. Nova knows host and deployment since 2026.1.",
    ),
    cfg.StrOpt("swtpm_user", default="tss", help="User that swtpm runs as, as qemu.conf says."),
    cfg.StrOpt("swtpm_group", default="tss", help="Group that swtpm runs as."),
    cfg.StrOpt("rescue_image_id", help="Image of rescue guests; unset: the server's own."),
    cfg.StrOpt("rescue_kernel_id", help="Kernel image of rescue guests."),
    cfg.StrOpt("rescue_ramdisk_id", help="Ramdisk image of rescue guests."),
    cfg.IntOpt(
        "wait_soft_reboot_seconds",
        default=120,
        help="How long a soft reboot may take before it becomes a hard one.",
    ),
]

DISK_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "images_type",
        default="default",
        choices=["raw", "flat", "qcow2", "lvm", "rbd", "ploop", "default"],
        help="Where local disks live; default follows use_cow_images: qcow2 or flat.",
    ),
    cfg.StrOpt(
        "remote_filesystem_transport",
        default="ssh",
        choices=["ssh", "rsync"],
        help="How disks of servers that move are copied to their next host. Both use ssh and the "
        "keys of the user who owns instances_path.",
    ),
    cfg.StrOpt("images_rbd_pool", default="rbd", help="Ceph pool of images_type=rbd."),
    cfg.StrOpt("images_rbd_ceph_conf", default="", help="Path of ceph.conf for images_type=rbd."),
    cfg.StrOpt(
        "images_rbd_glance_store_name",
        default="",
        help="Glance store on this Ceph cluster; images elsewhere are copied to it first.",
    ),
    cfg.IntOpt(
        "images_rbd_glance_copy_poll_interval",
        default=15,
        help="Seconds between looks at such a copy.",
    ),
    cfg.IntOpt(
        "images_rbd_glance_copy_timeout",
        default=600,
        help="Seconds until such a copy counts as failed.",
    ),
    cfg.IntOpt(
        "images_cpu_time_limit",
        default=30,
        help="CPU seconds that qemu-img may spend to inspect an untrusted image.",
    ),
    cfg.IntOpt(
        "images_address_space_limit",
        default=2,
        help="GiB of address space that qemu-img may use to inspect an untrusted image.",
    ),
    cfg.ListOpt(
        "disk_cachemodes",
        default=[],
        help="QEMU cache mode by kind of disk, as in file=writethrough,block=none,network=none.",
    ),
    cfg.StrOpt(
        "hw_disk_discard",
        choices=["ignore", "unmap"],
        help="What guests' discard requests do to local disks; unset: QEMU's default.",
    ),
    cfg.StrOpt("disk_prefix", help="Device name prefix of guest disks; unset: that of the bus."),
    cfg.StrOpt(
        "snapshots_directory",
        default="$instances_path/snapshots",
        help="Where snapshots are prepared before their upload.",
    ),
    cfg.StrOpt(
        "snapshot_image_format",
        choices=["raw", "qcow2", "vmdk", "vdi"],
        help="Format of uploaded snapshots; unset: that of the disk.",
    ),
    cfg.BoolOpt("snapshot_compression", default=False, help="Compress qcow2 snapshots."),
]

NET_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "use_virtio_for_bridges",
        default=True,
        help="Give virtio interfaces to guests whose image names no model.",
    ),
    cfg.IntOpt(
        "rx_queue_size",
        choices=[256, 512, 1024],
        help="Receive queue size of virtio interfaces; unset: QEMU's.",
    ),
    cfg.IntOpt(
        "tx_queue_size",
        choices=[256, 512, 1024],
        help="Transmit queue size of vhost-user virtio interfaces; unset: QEMU's.",
    ),
    cfg.IntOpt("max_queues", min=1, help="Upper limit of queues per virtio interface."),
]

VOLUME_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "volume_use_multipath",
        default=False,
        deprecated_name="iscsi_use_multipath",
        help="Attach volumes through several paths where the storage offers them.",
    ),
    cfg.BoolOpt(
        "volume_enforce_multipath",
        default=False,
        help="Refuse to attach a volume when multipathd does not run.",
    ),
    cfg.IntOpt(
        "num_volume_scan_tries",
        default=5,
        deprecated_name="num_iscsi_scan_tries",
        help="How often to look for the device of a volume.",
    ),
    cfg.IntOpt("num_nvme_discover_tries", default=5, help="The same for NVMe-oF."),
    cfg.IntOpt("num_iser_scan_tries", default=5, help="The same for iSER."),
    cfg.BoolOpt("iser_use_multipath", default=False, help="Multipath for iSER."),
    cfg.StrOpt("iscsi_iface", deprecated_name="iscsi_transport", help="iscsiadm's interface."),
    cfg.StrOpt("rbd_user", help="Ceph user of disks and volumes on RBD."),
    cfg.StrOpt("rbd_secret_uuid", help="UUID of the libvirt secret with that user's key."),
    cfg.IntOpt("rbd_connect_timeout", default=5, help="Seconds to wait for a Ceph connection."),
    cfg.IntOpt(
        "rbd_destroy_volume_retry_interval",
        default=5,
        min=0,
        help="Seconds between attempts to delete a busy RBD disk.",
    ),
    cfg.IntOpt(
        "rbd_destroy_volume_retries",
        default=12,
        min=0,
        help="Attempts to delete a busy RBD disk.",
    ),
    cfg.StrOpt("nfs_mount_point_base", default="$state_path/mnt", help="Where NFS is mounted."),
    cfg.StrOpt("nfs_mount_options", help="Options of NFS mounts; see nfs(5)."),
    cfg.StrOpt("smbfs_mount_point_base", default="$state_path/mnt", help="The same for SMB."),
    cfg.StrOpt("smbfs_mount_options", default="", help="Options of SMB mounts; see mount.cifs(8)."),
    cfg.StrOpt("ceph_mount_point_base", default="$state_path/mnt", help="The same for CephFS."),
    cfg.ListOpt("ceph_mount_options", help="Options of CephFS mounts."),
    cfg.BoolOpt(
        "use_default_aio_mode_for_volumes",
        default=False,
        help="Leave the I/O mode of volumes to QEMU instead of asking for native.",
    ),
    cfg.IntOpt(
        "device_detach_attempts",
        default=8,
        min=1,
        help="How often a running guest is asked to release a device.",
    ),
    cfg.IntOpt(
        "device_detach_timeout",
        default=20,
        min=1,
        help="Seconds that the guest has each time.",
    ),
]

OPTS: list[cfg.Opt] = [
    *CONNECTION_OPTS,
    *CPU_OPTS,
    *GUEST_OPTS,
    *DISK_OPTS,
    *NET_OPTS,
    *VOLUME_OPTS,
]
