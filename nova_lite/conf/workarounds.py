"""Options of [workarounds]."""

from __future__ import annotations

from oslo_config import cfg, types

GROUP = "workarounds"

VNIC_TYPES = (
    "normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic",
    "vdpa", "accelerator-direct", "accelerator-direct-physical", "remote-managed",
)  # fmt: skip

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "skip_cpu_compare_on_dest",
        default=False,
        help="Let libvirt alone find out, while a running server is on its way here, whether this "
        "host's CPU can do what that of the other host can.",
    ),
    cfg.BoolOpt(
        "enable_qemu_monitor_announce_self",
        default=False,
        help="Let QEMU announce on the network once more where a running server is that has come "
        "here, when its ports are bound to this host; QEMU has done so when the guest went on, "
        "which switches may have missed. libvirt marks such a guest as tainted.",
    ),
    cfg.IntOpt(
        "qemu_monitor_announce_self_count",
        default=3,
        min=1,
        help="With enable_qemu_monitor_announce_self: how often.",
    ),
    cfg.IntOpt(
        "qemu_monitor_announce_self_interval",
        default=1,
        min=1,
        help="With enable_qemu_monitor_announce_self: seconds from one announcement to the next.",
    ),
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
    cfg.ListOpt(
        "wait_for_vif_plugged_event_during_hard_reboot",
        item_type=types.String(choices=VNIC_TYPES),
        default=[],
        help="vnic types of ports, such as normal, that are plugged anew in hard reboots and "
        "starts; the guest runs when Neutron has wired them up.",
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
