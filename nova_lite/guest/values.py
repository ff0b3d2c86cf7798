"""Which image properties and extra specs exist here, and which values each may have.

Names and values are those of Nova's ImageMetaProps object (see also Glance's metadata catalogue).
A reader turns the text of a property into a typed value; it raises ValueError with a sentence that
names the allowed values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova_lite.model import tpm
from nova_lite.model.cpuset import parse_cpus

Reader = Callable[[Any], Any]

TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no", ""})


def boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise ValueError("allowed are true and false")
    return text in TRUE


def text(value: Any) -> str:
    return str(value)


def integer(low: int | None = None, high: int | None = None) -> Reader:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(value: Any) -> int:
        if low is None:
            bounds = ""
        else:
            bounds = f" from {low} to {high}" if high is not None else f" of at least {low}"
        try:
            number = int(str(value).strip())
        except ValueError:
            number = None
        if number is None or (low is not None and number < low) or (high is not None and
                                                                    number > high):  # fmt: skip
            raise ValueError(f"allowed is a whole number{bounds}")
        return number

    return read


def choice(*allowed: str, aliases: dict[str, str] | None = None) -> Reader:
    """A reader of one of the words ``allowed``; ``aliases`` are older spellings."""

    def read(value: Any) -> str:
        word = (aliases or {}).get(str(value), str(value))
        if word not in allowed:
            raise ValueError(f"allowed are {', '.join(allowed)}")
        return word

    return read


def cpus(value: Any) -> frozenset[int]:
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset(int(cpu) for cpu in value)
    return parse_cpus(str(value))


DISK_BUSES = ("virtio", "scsi", "ide", "usb", "fdc", "sata")
# Models of Xen and VMware: images may name them, and no guest of QEMU can have them.
OTHER_HYPERVISORS_NICS = ("netfront", "sriov", "vmxnet")
VIF_MODELS = (
    "virtio", "e1000", "e1000e", "igb", "rtl8139", "ne2k_pci", "pcnet", "spapr-vlan", "vmxnet3",
    "lan9118", *OTHER_HYPERVISORS_NICS,
)  # fmt: skip
VIF_ALIASES = {
    "virtuale1000": "e1000",
    "virtuale1000e": "e1000e",
    "virtualpcnet32": "pcnet",
    "virtualsriovethernetcard": "sriov",
    "virtualvmxnet": "vmxnet",
    "virtualvmxnet3": "vmxnet3",
}
SCSI_MODELS = ("virtio-scsi", "buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078",
               "vmpvscsi")  # fmt: skip
DEVICE_TYPES = ("disk", "cdrom", "floppy", "lun")
COUNT = integer(0)

IMAGE: dict[str, Reader] = {
    "hw_architecture": text,
    "hw_boot_menu": boolean,
    "hw_cdrom_bus": choice(*DISK_BUSES),
    "hw_cpu_cores": COUNT,
    "hw_cpu_max_cores": COUNT,
    "hw_cpu_max_sockets": COUNT,
    "hw_cpu_max_threads": COUNT,
    "hw_cpu_policy": choice("shared", "dedicated", "mixed"),
    "hw_cpu_realtime_mask": text,
    "hw_cpu_sockets": COUNT,
    "hw_cpu_thread_policy": choice("prefer", "isolate", "require"),
    "hw_cpu_threads": COUNT,
    "hw_disk_bus": choice(*DISK_BUSES),
    "hw_emulation_architecture": text,
    "hw_ephemeral_encryption": boolean,
    "hw_firmware_stateless": boolean,
    "hw_firmware_type": choice("bios", "uefi"),
    "hw_floppy_bus": choice(*DISK_BUSES),
    "hw_input_bus": choice("usb", "virtio"),
    "hw_locked_memory": boolean,
    "hw_machine_type": text,
    "hw_maxphysaddr_bits": integer(32, 64),
    "hw_maxphysaddr_mode": choice("passthrough", "emulate"),
    "hw_mem_encryption": boolean,
    "hw_mem_encryption_model": text,
    "hw_mem_page_size": text,
    "hw_numa_nodes": integer(1),
    "hw_pmu": boolean,
    "hw_pointer_model": choice("usbtablet"),
    "hw_qemu_guest_agent": boolean,
    "hw_redirected_usb_ports": integer(0, 15),
    "hw_rescue_bus": choice(*DISK_BUSES),
    "hw_rescue_device": choice(*DEVICE_TYPES),
    "hw_rng_model": choice("virtio"),
    "hw_scsi_model": choice(*SCSI_MODELS),
    "hw_serial_port_count": integer(1),
    "hw_sound_model": choice("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
    "hw_time_hpet": boolean,
    "hw_tpm_model": choice("tpm-tis", "tpm-crb"),
    "hw_tpm_version": choice("1.2", "2.0"),
    "hw_usb_model": choice("none", "nec-xhci", "qemu-xhci"),
    "hw_video_model": choice(
        "virtio", "vga", "cirrus", "qxl", "bochs", "vmvga", "xen", "gop", "none"
    ),  # fmt: skip
    "hw_video_ram": COUNT,
    "hw_vif_model": choice(*VIF_MODELS, aliases=VIF_ALIASES),
    "hw_vif_multiqueue_enabled": boolean,
    "hw_viommu_model": choice("auto", "intel", "smmuv3", "virtio"),
    "hw_virtio_packed_ring": boolean,
    "hw_vm_mode": choice("hvm"),
    "hw_watchdog_action": choice("disabled", "none", "pause", "poweroff", "reset"),
    "img_config_drive": choice("optional", "mandatory"),
    "img_hide_hypervisor_id": boolean,
    "img_root_device_name": text,
    "img_signature": text,
    "os_command_line": text,
    "os_secure_boot": choice("disabled", "optional", "required"),
    "os_type": text,
}

# Names of before ImageMetaProps, still found on old images.
LEGACY = {
    "architecture": "hw_architecture",
    "root_device_name": "img_root_device_name",
    "vm_mode": "hw_vm_mode",
}

SPECS: dict[str, Reader] = {
    **{
        "hw:" + name.removeprefix("hw_"): reader
        for name, reader in IMAGE.items()
        if name.startswith("hw_")
    },
    "hide_hypervisor_id": boolean,
    "hw:cpu_dedicated_mask": text,
    "hw:cpu_realtime": boolean,
    "hw:emulator_threads_policy": choice("share", "isolate"),
    "hw:hide_hypervisor_id": boolean,
    tpm.EXTRA_SPEC: choice(*tpm.MODES),
    "hw_rng:allowed": boolean,
    "hw_rng:rate_bytes": COUNT,
    "hw_rng:rate_period": COUNT,
    "hw_video:ram_max_mb": COUNT,
    "os:secure_boot": IMAGE["os_secure_boot"],
    "quota:cpu_period": integer(0, 1000000),
    # libvirt: -1 stands for no limit.
    "quota:cpu_quota": integer(-1),
    "quota:cpu_shares": integer(0),
    **{
        f"quota:disk_{way}_{unit}_sec": COUNT
        for way in ("read", "write", "total")
        for unit in ("bytes", "iops")
    },
    **{
        f"quota:vif_{way}_{what}": COUNT
        for way in ("inbound", "outbound")
        for what in ("average", "peak", "burst")
    },
}
