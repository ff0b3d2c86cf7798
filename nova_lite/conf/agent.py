"""Options that only this agent has, in [nova_lite]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "nova_lite"

OPTS: list[cfg.Opt] = [
    cfg.IntOpt(
        "service_version",
        min=66,
        help="Version that the Service record reports. Default: that of the control plane found, "
        "within what this agent keeps the promises of.",
    ),
    cfg.StrOpt(
        "runtime_path",
        default="/run/nova-lite",
        help="Directory in memory (tmpfs) for the passwords, files and tokens of open requests, "
        "which survive a restart of the agent, but not of the machine.",
    ),
    cfg.IntOpt(
        "resume_timeout",
        default=10,
        min=0,
        help="Seconds that operations left open by an earlier process have to end before the host "
        "reports itself up; what is not over by then goes on beside.",
    ),
    cfg.IntOpt(
        "stuck_worker_timeout",
        default=900,
        min=1,
        help="Seconds after which a worker that hangs in the hypervisor or in storage is reported "
        "and replaced.",
    ),
    cfg.StrOpt(
        "live_migration_method",
        default="nova",
        choices=["nova", "auto", "pre-copy", "auto-converge", "post-copy"],
        help="How running servers leave this host. nova: as live_migration_permit_post_copy and "
        "live_migration_permit_auto_converge say. auto: by a forecast, the gentlest way that those "
        "permit and that ends in time; a server that would not arrive is refused before anything "
        "is prepared. Forecasts take 3 seconds.",
    ),
    cfg.ListOpt(
        "metrics",
        default=[],
        help="Drivers that get the agent's metrics, by their entry points in nova_lite.metrics: "
        "textfile.",
    ),
    cfg.StrOpt(
        "metrics_file",
        help="The file that the metrics driver textfile writes, in the directory that is named by "
        "node_exporter's option --collector.textfile.directory; its name ends in .prom.",
    ),
]
