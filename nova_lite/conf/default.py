"""General options of [DEFAULT], under nova.conf's own names and defaults."""

from __future__ import annotations

from oslo_config import cfg

GROUP = None

OPTS: list[cfg.Opt] = [
    cfg.HostAddressOpt(
        "host",
        sample_default="<current_hostname>",
        help="Name of this host in the cloud; the key of its Service and ComputeNode records. "
        "Default: the machine's host name.",
    ),
    cfg.HostAddressOpt(
        "my_ip", sample_default="<host_ipv4>", help="Management address of this host."
    ),
    cfg.HostAddressOpt(
        "my_block_storage_ip", default="$my_ip", help="Address for block storage traffic."
    ),
    cfg.HostAddressOpt(
        "my_shared_fs_storage_ip",
        default="$my_ip",
        help="Address that shares on NFS are opened to, for servers of this host.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/nova",
        help="Directory of compute_id and of the operation journal.",
    ),
    cfg.StrOpt(
        "instances_path",
        default="$state_path/instances",
        help="Directory of the servers' local disks and of the image cache.",
    ),
    cfg.StrOpt(
        "instance_name_template",
        default="instance-%08x",
        help="Name of a server's domain, made from the id of its record.",
    ),
    cfg.StrOpt(
        "compute_driver",
        default="libvirt.LibvirtDriver",
        help="Hypervisor driver. libvirt.LibvirtDriver and libvirt mean the driver libvirt.",
    ),
    cfg.IntOpt(
        "long_rpc_timeout", default=1800, help="Timeout of RPC calls that may take long, seconds."
    ),
    cfg.IntOpt("report_interval", default=10, help="Seconds between two heartbeats."),
    cfg.IntOpt(
        "service_down_time", default=60, help="Seconds without heartbeat until a host is down."
    ),
    cfg.BoolOpt("periodic_enable", default=True, help="Whether periodic work runs."),
    cfg.IntOpt(
        "graceful_shutdown_timeout",
        default=180,
        help="Seconds that running operations have to end when the agent is told to stop.",
    ),
    cfg.IntOpt(
        "max_concurrent_builds", default=10, min=0, help="Servers built at once; 0: no limit."
    ),
    cfg.IntOpt(
        "max_concurrent_snapshots",
        default=5,
        min=0,
        help="Snapshots made at once; 0: no limit.",
    ),
    cfg.IntOpt(
        "max_concurrent_live_migrations",
        default=1,
        min=0,
        help="Live migrations that leave this host at once; 0: no limit.",
    ),
    cfg.IntOpt(
        "vif_plugging_timeout",
        default=300,
        min=0,
        help="Seconds to wait for network-vif-plugged during a boot.",
    ),
    cfg.BoolOpt(
        "vif_plugging_is_fatal",
        default=True,
        help="Whether a boot fails when network-vif-plugged does not arrive in time.",
    ),
    cfg.IntOpt(
        "shutdown_timeout", default=60, min=0, help="Seconds a guest has to power itself off."
    ),
    cfg.IntOpt(
        "sync_power_state_interval",
        default=600,
        help="Seconds between two comparisons of power states with the hypervisor; <0: never.",
    ),
    cfg.IntOpt(
        "heal_instance_info_cache_interval",
        default=-1,
        help="Seconds between two comparisons of the network caches of all servers of the host "
        "with Neutron, for network backends that send no events; <=0: at start and after an outage "
        "only.",
    ),
    cfg.IntOpt(
        "volume_usage_poll_interval",
        default=0,
        help="Seconds between two reports of how much volumes were read and written; 0: none.",
    ),
    cfg.IntOpt(
        "update_resources_interval",
        default=0,
        help="Seconds between two looks at the host's resources; 0: 60 s, <0: never.",
    ),
    cfg.IntOpt(
        "scheduler_instance_sync_interval",
        default=120,
        help="Seconds between two complete lists of servers for the schedulers; 0: 60 s, <0: only "
        "one at start. Only with [filter_scheduler]track_instance_changes.",
    ),
    cfg.StrOpt(
        "running_deleted_instance_action",
        default="reap",
        choices=["noop", "log", "shutdown", "reap"],
        help="What happens to a guest whose server was deleted while the host was down.",
    ),
    cfg.IntOpt(
        "running_deleted_instance_poll_interval",
        default=1800,
        help="Seconds between two looks for such guests, the first of them at start; 0: never.",
    ),
    cfg.IntOpt(
        "running_deleted_instance_timeout",
        default=0,
        help="Seconds for which such a server has to be deleted already.",
    ),
    cfg.BoolOpt(
        "resume_guests_state_on_host_boot",
        default=False,
        help="Start guests that ran before the host was rebooted.",
    ),
    cfg.IntOpt(
        "reclaim_instance_interval",
        default=0,
        help="Seconds a soft-deleted server is kept; 0: soft delete is off.",
    ),
    cfg.IntOpt(
        "instance_delete_interval",
        default=300,
        help="Seconds between two looks for directories of deleted servers; 0: 60 s, <0: never.",
    ),
    cfg.IntOpt(
        "maximum_instance_delete_attempts",
        default=5,
        min=1,
        help="How often the agent tries to remove such a directory.",
    ),
    cfg.IntOpt(
        "instance_build_timeout",
        default=0,
        min=0,
        help="Seconds after which a server that is still being built is in ERROR; 0: never.",
    ),
    cfg.IntOpt(
        "reboot_timeout",
        default=0,
        min=0,
        help="Seconds after which a server that is still rebooting softly is rebooted hard, if "
        "nobody is at work on it; 0: never.",
    ),
    cfg.IntOpt(
        "rescue_timeout",
        default=0,
        min=0,
        help="Seconds after which a rescued server is unrescued; 0: never.",
    ),
    cfg.IntOpt(
        "resize_confirm_window",
        default=0,
        min=0,
        help="Seconds after which this host confirms that a server was resized, or migrated, to "
        "it; 0: its user does.",
    ),
    cfg.BoolOpt(
        "instance_usage_audit",
        default=False,
        help="Tell at the end of each audit period of every server that was here in it: "
        "compute.instance.exists.",
    ),
    cfg.StrOpt(
        "instance_usage_audit_period",
        default="month",
        regex="^(hour|month|day|year)(@([0-9]+))?$",
        help="The audit period, and where it begins: hour@30 at half past, day@18 at 18:00 UTC, "
        "month@15 on the 15th, year@4 in April.",
    ),
    cfg.IntOpt(
        "network_allocate_retries",
        default=0,
        min=0,
        help="How often ports are asked for again when a server that is built gets none; Neutron "
        "that does not answer is waited for in any case.",
    ),
    cfg.StrOpt(
        "default_access_ip_network_name",
        help="Network whose addresses become the access addresses of new servers.",
    ),
    cfg.IntOpt(
        "block_device_allocate_retries",
        default=60,
        min=0,
        help="How many intervals a server waits for a volume that is made for it.",
    ),
    cfg.IntOpt(
        "block_device_allocate_retries_interval",
        default=3,
        min=0,
        help="Seconds between two looks at such a volume; the first ones are closer together.",
    ),
    cfg.StrOpt(
        "pointer_model",
        default="usbtablet",
        choices=["ps2mouse", "usbtablet", None],
        help="Pointer of guests with a screen: usbtablet, or the mouse that they have anyway. "
        "hw_input_bus and hw_pointer_model of an image come first.",
    ),
    cfg.IntOpt(
        "reimage_timeout_per_gb",
        default=20,
        min=1,
        help="Seconds per GiB of an image for Cinder to write it into the root volume of a server "
        "that is rebuilt.",
    ),
]
