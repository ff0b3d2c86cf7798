"""Options of [libvirt] for servers that move to other hosts, most for those that run."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "libvirt"

WAY_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "live_migration_scheme",
        help="How libvirt of this host connects to that of another one: tcp (the default), tls or "
        "ssh, as in qemu+SCHEME://HOST/system.",
    ),
    cfg.HostDomainOpt(
        "live_migration_inbound_addr",
        help="Name or address at which other hosts reach this one for live migrations; %s is "
        "this host's name. Unset: its name.",
    ),
    cfg.StrOpt(
        "migration_inbound_addr",
        default="$my_ip",
        help="Name or address at which other hosts reach this one for the disks of servers that "
        "move here while they are off; %s is this host's name.",
    ),
    cfg.StrOpt(
        "live_migration_uri",
        help="URI of another host's libvirt, %s is its address. Unset: by "
        "live_migration_scheme.",
    ),
    cfg.BoolOpt(
        "live_migration_with_native_tls",
        default=False,
        help="Encrypt memory and disks in QEMU; both hosts need its certificates.",
    ),
    cfg.IntOpt(
        "live_migration_bandwidth",
        default=0,
        help="MiB per second at most; 0: as fast as it goes.",
    ),
    cfg.IntOpt(
        "live_migration_parallel_connections",
        default=1,
        help="Connections that memory is sent through. Above 1 together with "
        "live_migration_permit_post_copy QEMU 10.1 is needed.",
    ),
]

END_OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "live_migration_permit_post_copy",
        default=False,
        help="Let a guest run on the other host before all of its memory has come there, when it "
        "is to be forced.",
    ),
    cfg.BoolOpt(
        "live_migration_permit_auto_converge",
        default=False,
        help="Let QEMU slow down a guest that writes faster than its memory can be sent.",
    ),
    cfg.IntOpt(
        "live_migration_downtime",
        default=500,
        min=100,
        help="Milliseconds for which the guest may stand still at the end.",
    ),
    cfg.IntOpt(
        "live_migration_downtime_steps",
        default=10,
        min=3,
        help="Steps in which live_migration_downtime is reached.",
    ),
    cfg.IntOpt(
        "live_migration_downtime_delay",
        default=75,
        min=3,
        help="Seconds between two steps, for each GiB of memory and disks to be copied.",
    ),
    cfg.IntOpt(
        "live_migration_completion_timeout",
        default=800,
        min=0,
        mutable=True,
        help="Seconds after which live_migration_timeout_action is taken, for each GiB of memory "
        "and disks to be copied; 0: never.",
    ),
    cfg.StrOpt(
        "live_migration_timeout_action",
        default="abort",
        choices=["abort", "force_complete"],
        mutable=True,
        help="abort: the server stays here. force_complete: by post-copy where it is permitted, "
        "when its disks are there; else the guest is paused until all of it is there.",
    ),
    cfg.IntOpt(
        "live_migration_monitor_interval",
        default=5,
        help="Seconds between two reports of the progress, as far as there is any.",
    ),
]

OPTS: list[cfg.Opt] = [*WAY_OPTS, *END_OPTS]
