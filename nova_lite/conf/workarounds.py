"""Options of [workarounds]."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "workarounds"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "disable_libvirt_livesnapshot",
        default=False,
        help="Hold guests while their disks are copied, instead of copying beside them.",
    ),
    cfg.BoolOpt(
        "handle_virt_lifecycle_events",
        default=True,
        help="Whether life-cycle events of the hypervisor change power states in the cloud.",
    ),
    cfg.BoolOpt(
        "reserve_disk_resource_for_image_cache",
        default=False,
        help="Whether the disk space that cached images take is withheld from Placement.",
    ),
    cfg.BoolOpt(
        "never_download_image_if_on_rbd",
        default=False,
        help="With [libvirt]images_type=rbd: refuse to boot from images that cannot be cloned.",
    ),
    cfg.BoolOpt(
        "libvirt_disable_apic",
        default=False,
        help="Give guests no APIC, for kernels that hang in its initialization.",
    ),
    cfg.BoolOpt(
        "disable_group_policy_check_upcall",
        default=False,
        help="Skip the late check of server group policies, which asks the API database.",
    ),
]
