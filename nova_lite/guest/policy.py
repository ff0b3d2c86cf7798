"""What nova.conf says about the guests of this host, as one plain value."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite.errors import InvalidConfiguration
from nova_lite.model.cpuset import parse_cpus
from nova_lite.model.domain import GraphicsSpec

CACHE_MODES = ("default", "none", "writethrough", "writeback", "directsync", "unsafe")
CACHE_SOURCES = ("file", "block", "network", "mount")
VIRT_TYPES = ("kvm", "qemu")


@dataclass(frozen=True)
class HostPolicy:
    """Options that shape guests; names follow nova.conf, sizes and times say their unit.

    ``vnc_listen`` is None when there is no VNC, ``spice`` when there is no SPICE, ``serial_host``
    when serial ports are not reachable. ``direct_io`` says whether the file system below
    ``instances_path`` takes O_DIRECT, ``host_serial`` is the SMBIOS serial number shared by all
    guests ("unique": the server's own uuid, None: none); both are probed by the caller.
    """

    virt_type: str = "kvm"
    instances_path: str = "/var/lib/nova/instances"
    cpu_mode: str | None = None
    cpu_models: tuple[str, ...] = ()
    cpu_flags: tuple[str, ...] = ()
    cpu_shared_set: frozenset[int] | None = None
    cpu_dedicated_set: frozenset[int] | None = None
    realtime_priority: int = 1
    machine_types: Mapping[str, str] = field(default_factory=dict)
    pcie_ports: int = 0
    tb_cache_mb: int | None = None
    apic: bool = True
    rng_device: str = "/dev/urandom"
    balloon_period_s: int = 10
    file_backed_memory_mb: int = 0
    pointer_model: str | None = "usbtablet"
    perf_events: tuple[str, ...] = ()
    disk_prefix: str | None = None
    disk_format: str = "qcow2"
    disk_cachemodes: Mapping[str, str] = field(default_factory=dict)
    disk_discard: str | None = None
    disk_io: str | None = None
    direct_io: bool = True
    max_disks: int | None = None
    ephemeral_fs: str | None = None
    config_drive_format: str = "iso9660"
    virtio_nics: bool = True
    max_queues: int | None = None
    rx_queue_size: int | None = None
    tx_queue_size: int | None = None
    vnc_listen: str | None = "127.0.0.1"
    spice: GraphicsSpec | None = None
    serial_host: str | None = None
    swtpm: frozenset[str] = frozenset()
    host_serial: str | None = "unique"
    package_version: str = ""

    @classmethod
    def from_conf(
        cls,
        conf: Any,
        *,
        direct_io: bool = True,
        machine_id: str | None = None,
        hardware_id: str | None = None,
        package_version: str = "",
    ) -> HostPolicy:
        """Read the options from ``conf``.

        :param direct_io: whether files below instances_path can be opened with O_DIRECT
        :param machine_id: content of /etc/machine-id, for sysinfo_serial=os and auto
        :param hardware_id: UUID of the host's hardware, for sysinfo_serial=hardware and auto
        :param package_version: version of this agent, shown to guests and in domain metadata
        :raises InvalidConfiguration: an option has a value that no guest could be made with
        """
        lv = conf.libvirt
        if lv.virt_type not in VIRT_TYPES:
            raise InvalidConfiguration(
                f"[libvirt] virt_type = {lv.virt_type} is not supported; use kvm or qemu"
            )
        return cls(
            virt_type=lv.virt_type,
            instances_path=conf.instances_path,
            rng_device=lv.rng_dev_path,
            balloon_period_s=lv.mem_stats_period_seconds,
            file_backed_memory_mb=lv.file_backed_memory,
            pointer_model=conf.pointer_model,
            perf_events=tuple(lv.enabled_perf_events),
            swtpm=tpm_modes(lv),
            pcie_ports=lv.num_pcie_ports,
            tb_cache_mb=lv.tb_cache_size if lv.virt_type == "qemu" else None,
            apic=not conf.workarounds.libvirt_disable_apic,
            machine_types=machine_types(lv.hw_machine_type or ()),
            config_drive_format=getattr(conf, "config_drive_format", "iso9660"),
            vnc_listen=str(conf.vnc.server_listen) if conf.vnc.enabled else None,
            spice=_spice(conf.spice) if conf.spice.enabled else None,
            serial_host=conf.serial_console.proxyclient_address
            if conf.serial_console.enabled
            else None,
            host_serial=_serial(lv.sysinfo_serial, machine_id, hardware_id),
            package_version=package_version,
            **_cpu_options(conf),
            **_disk_options(conf, direct_io),
            **_nic_options(lv),
        )


def tpm_modes(options: Any) -> frozenset[str]:
    """For whose keys (``hw:tpm_secret_security``) this host offers emulated TPMs; empty: for none.

    :param options: those of [libvirt]
    """
    if not options.swtpm_enabled:
        return frozenset()
    return frozenset(options.supported_tpm_secret_security)


def _cpu_options(conf: Any) -> dict[str, Any]:
    lv, mode = conf.libvirt, conf.libvirt.cpu_mode
    if mode == "custom" and not lv.cpu_models:
        raise InvalidConfiguration("[libvirt] cpu_mode = custom needs cpu_models")
    if mode != "custom" and lv.cpu_models:
        raise InvalidConfiguration("[libvirt] cpu_models is only for cpu_mode = custom")
    shared, dedicated = conf.compute.cpu_shared_set, conf.compute.cpu_dedicated_set
    return {
        "cpu_mode": mode,
        "cpu_models": tuple(lv.cpu_models),
        "cpu_flags": tuple(sorted({flag.lower() for flag in lv.cpu_model_extra_flags})),
        "cpu_shared_set": cpu_set("cpu_shared_set", shared),
        "cpu_dedicated_set": cpu_set("cpu_dedicated_set", dedicated),
        "realtime_priority": lv.realtime_scheduler_priority,
    }


def _disk_options(conf: Any, direct_io: bool) -> dict[str, Any]:
    lv = conf.libvirt
    cow = getattr(conf, "use_cow_images", True)
    images_type = lv.images_type
    if images_type == "default":
        images_type = "qcow2" if cow else "flat"
    # -1 in nova.conf means that only the bus limits the number of disks.
    limit = getattr(conf.compute, "max_disk_devices_to_attach", -1)
    preallocated = getattr(conf, "preallocate_images", "none") == "space"
    return {
        "disk_prefix": getattr(lv, "disk_prefix", None),
        "disk_format": "qcow2" if images_type == "qcow2" else "raw",
        "disk_cachemodes": cache_modes(lv.disk_cachemodes),
        "disk_discard": lv.hw_disk_discard,
        "disk_io": "native" if preallocated and direct_io else None,
        "direct_io": direct_io,
        "max_disks": limit if limit >= 0 else None,
        "ephemeral_fs": getattr(conf, "default_ephemeral_format", None),
    }


def _nic_options(lv: Any) -> dict[str, Any]:
    return {
        "virtio_nics": lv.use_virtio_for_bridges,
        "max_queues": getattr(lv, "max_queues", None),
        "rx_queue_size": lv.rx_queue_size,
        "tx_queue_size": lv.tx_queue_size,
    }


def _spice(options: Any) -> GraphicsSpec:
    tuning = {
        "image": options.image_compression,
        "jpeg": options.jpeg_compression,
        "zlib": options.zlib_compression,
        "playback": {True: "on", False: "off"}.get(options.playback_compression),
        "streaming": options.streaming_mode,
    }
    return GraphicsSpec(
        "spice",
        options.server_listen,
        tls=options.require_secure,
        agent=options.agent_enabled,
        options={name: value for name, value in tuning.items() if value is not None},
    )


def _serial(choice: str, machine_id: str | None, hardware_id: str | None) -> str | None:
    if choice == "unique":
        return "unique"
    # systemd writes it without dashes, guests have always been shown a UUID.
    machine_id = str(uuid.UUID(machine_id)) if machine_id else None
    by_choice = {"os": machine_id, "hardware": hardware_id, "auto": machine_id or hardware_id}
    return by_choice.get(choice)


def machine_types(entries: Iterable[str]) -> dict[str, str]:
    """Parse ``arch=machine`` pairs of [libvirt] hw_machine_type.

    :raises InvalidConfiguration: an entry is not of that form
    """
    result = {}
    for entry in entries:
        arch, separator, machine = entry.partition("=")
        if not (arch.strip() and separator and machine.strip()):
            raise InvalidConfiguration(
                f"[libvirt] hw_machine_type: {entry!r} is not ARCH=MACHINE, such as x86_64=q35"
            )
        result[arch.strip()] = machine.strip()
    return result


def cache_modes(entries: Iterable[str]) -> dict[str, str]:
    """Parse ``source=mode`` pairs of [libvirt] disk_cachemodes.

    :raises InvalidConfiguration: source or mode is unknown
    """
    result = {}
    for entry in entries:
        source, _, mode = entry.partition("=")
        if source not in CACHE_SOURCES or mode not in CACHE_MODES:
            raise InvalidConfiguration(
                f"[libvirt] disk_cachemodes: {entry!r} is not SOURCE=MODE with a source of "
                f"{', '.join(CACHE_SOURCES)} and a mode of {', '.join(CACHE_MODES)}"
            )
        result[source] = mode
    return result


def cpu_set(option: str, text: str | None) -> frozenset[int] | None:
    """Parse a CPU list of [compute]; None when unset.

    :raises InvalidConfiguration: not a CPU list, or an empty one
    """
    if not text:
        return None
    try:
        cpus = parse_cpus(text)
    except ValueError as error:
        raise InvalidConfiguration(f"[compute] {option}: {error}") from None
    if not cpus:
        raise InvalidConfiguration(f"[compute] {option} = {text} names no CPU")
    return cpus
