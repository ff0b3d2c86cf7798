"""The whole guest, put together from the plans of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nova_lite.errors import UnsupportedByHost
from nova_lite.guest import consoles, cpu, devices, machine, metadata
from nova_lite.guest.disks import DiskPlan, disk_specs
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import DomainSpec, NicSpec, ShareSpec
from nova_lite.model.host import Capabilities, HostFacts
from nova_lite.model.network import Vif
from nova_lite.model.numa import GuestNuma
from nova_lite.model.server import Server
from nova_lite.model.volume import ConnectedVolume, VolumeSource


def plan_domain(
    server: Server,
    *,
    vifs: Iterable[Vif],
    nics: Sequence[NicSpec],
    disks: DiskPlan,
    facts: HostFacts,
    capabilities: Capabilities,
    policy: HostPolicy,
    numa: GuestNuma | None = None,
    creation_time: float,
    directory: Path | None = None,
    sources: Mapping[str, VolumeSource] | None = None,
    volumes: Mapping[str, ConnectedVolume] | None = None,
    console_log: str | None = None,
    serial_ports: Sequence[int] = (),
    shares: tuple[ShareSpec, ...] = (),
    tpm_secret: str | None = None,
) -> DomainSpec:
    """The guest definition of ``server``.

    :param vifs: its ports, for the metadata; ``nics`` the same ones as their drivers plug them
    :param disks: from disks.plan_disks
    :param numa: its placed topology, None when it floats over the host
    :param creation_time: seconds since the epoch, for the metadata
    :param directory: the server's directory; default ``<instances_path>/<uuid>``
    :param sources: local disks by file name, where not a file ``<directory>/<name>``
    :param volumes: the volumes that are connected to this host, by their ids
    :param console_log: file of the console log; default ``<directory>/console.log``
    :param shares: directories of the host that it gets
    :param tpm_secret: uuid of the secret of its TPM
    :param serial_ports: TCP ports of its serial ports, as many as consoles.serial_ports says
    :raises InvalidGuestConfig: flavor or image say something invalid or contradictory
    :raises UnsupportedByHost: this host cannot do what they say
    """
    properties = Properties(server)
    directory = directory or Path(policy.instances_path) / server.uuid
    board = machine.plan_machine(properties, policy, facts, capabilities)
    kernel = machine.plan_kernel(server, properties, policy, directory, disks.root_device_name)
    firmware = machine.plan_firmware(properties, board, capabilities)
    tuning = cpu.plan_tuning(properties, server.flavor, policy, capabilities, numa)
    return DomainSpec(
        uuid=server.uuid,
        name=server.domain_name,
        title=server.display_name,
        virt_type=board.virt_type,
        arch=board.arch,
        machine=board.machine,
        memory_kib=server.flavor.memory_mb * 1024,
        vcpus=server.flavor.vcpus,
        cpu=cpu.plan_cpu(properties, server.flavor, board, policy, numa),
        cpu_tune=tuning,
        memory_backing=cpu.plan_memory(properties, policy, numa, shared=bool(shares)),
        cpuset=_floating_cpus(policy, facts) if numa is None else frozenset(),
        firmware=firmware.kind,
        secure_boot=firmware.secure_boot,
        firmware_stateless=firmware.stateless,
        kernel=kernel.kernel,
        initrd=kernel.initrd,
        cmdline=kernel.cmdline,
        boot_devices=() if kernel.kernel else disks.boot_devices,
        boot_menu=machine.boot_menu(properties),
        nics=tuple(devices.finish_nic(nic, properties, policy) for nic in nics),
        shares=shares,
        tpm_secret=tpm_secret,
        console_log=console_log or str(directory / "console.log"),
        serial_tcp=_serial(policy, serial_ports),
        smbios=metadata.smbios(server, policy) if board.arch in machine.X86 else {},
        metadata=metadata.describe(server, vifs, policy, creation_time),
        **_disks(disks, properties, policy, capabilities, directory, sources or {}, volumes or {}),
        **_devices(properties, board, policy, capabilities, disks, facts),
        **_features(properties, board, policy),
    )


def _serial(policy: HostPolicy, ports: Sequence[int]) -> tuple[str, tuple[int, ...]] | None:
    return (policy.serial_host, tuple(ports)) if policy.serial_host and ports else None


def _floating_cpus(policy: HostPolicy, facts: HostFacts) -> frozenset[int]:
    """The host CPUs of a guest that is not pinned; empty for all.

    :raises UnsupportedByHost: [compute] cpu_shared_set names CPUs that are not online
    """
    shared = policy.cpu_shared_set or frozenset()
    if not shared <= facts.online_cpus:
        raise UnsupportedByHost(
            f"[compute] cpu_shared_set names CPUs {sorted(shared - facts.online_cpus)}, which are "
            f"not online"
        )
    return shared


def _disks(
    plan: DiskPlan,
    properties: Properties,
    policy: HostPolicy,
    capabilities: Capabilities,
    directory: Path,
    sources: Mapping[str, VolumeSource],
    volumes: Mapping[str, ConnectedVolume],
) -> dict[str, Any]:
    for disk in plan.disks:
        devices.require_trait(
            capabilities, "COMPUTE_STORAGE_BUS_", disk.bus, f"disk bus of {disk.device_name}"
        )
    files = {disk.name or "": _file(directory, disk.name or "", policy) for disk in plan.local}
    return {
        "disks": disk_specs(plan, {**files, **sources}, volumes, properties, policy),
        "scsi_model": properties.image("hw_scsi_model"),
    }


def _file(directory: Path, name: str, policy: HostPolicy) -> VolumeSource:
    usual = "raw" if name.startswith("disk.config") else policy.disk_format
    return VolumeSource(str(directory / name), format=usual)


def _devices(
    properties: Properties,
    board: Machine,
    policy: HostPolicy,
    capabilities: Capabilities,
    plan: DiskPlan,
    facts: HostFacts,
) -> dict[str, Any]:
    video = devices.video_model(properties, board)
    devices.require_trait(capabilities, "COMPUTE_GRAPHICS_MODEL_", video, "hw_video_model")
    viommu = devices.viommu_model(properties, board, facts.libvirt_version)
    sound = properties.agreed("sound_model")
    devices.require_trait(capabilities, "COMPUTE_SOUND_MODEL_", sound, "hw:sound_model")
    tpm = devices.tpm(properties, swtpm=policy.swtpm)
    if tpm:
        model, version = tpm
        for part in (model.removeprefix("tpm-"), version.replace(".", "_")):
            devices.require_trait(capabilities, "COMPUTE_SECURITY_TPM_", part, "hw:tpm")
    inputs = consoles.inputs(properties, policy, board)
    needs_usb = any(bus == "usb" for _, bus in inputs) or any(d.bus == "usb" for d in plan.disks)
    usb, redirections = consoles.usb_controller(properties, policy, board, needed=needs_usb)
    source, rate = devices.rng(properties, policy)
    return {
        "graphics": consoles.graphics(policy),
        "video_model": video if consoles.has_screen(policy) else None,
        "video_ram_mb": devices.video_ram_mb(properties),
        "rng": source,
        "rng_rate": rate,
        "watchdog": devices.watchdog(properties),
        "balloon_period_s": policy.balloon_period_s if policy.balloon_period_s > 0 else None,
        "input_devices": inputs,
        "usb_model": usb,
        "usb_redirections": redirections,
        "pcie_ports": policy.pcie_ports if _has_pcie(board) else 0,
        "guest_agent": bool(properties.image("hw_qemu_guest_agent")),
        "sound_model": sound,
        "tpm": tpm,
        "viommu_model": viommu,
    }


def _has_pcie(board: Machine) -> bool:
    return board.is_q35 or (board.arch == "aarch64" and (board.machine or "").startswith("virt"))


def _features(properties: Properties, board: Machine, policy: HostPolicy) -> dict[str, Any]:
    windows = machine.windows(properties)
    # Timers are set for KVM guests only; TCG keeps its own time.
    timers = board.arch in machine.X86 and board.virt_type == "kvm"
    return {
        "hide_hypervisor": devices.hide_hypervisor(properties),
        "pmu": properties.agreed("pmu"),
        "hpet": bool(properties.image("hw_time_hpet")) if timers else None,
        # QEMU refuses what it promises of Hyper-V unless KVM is there to keep the promise.
        "hyperv": windows and board.virt_type == "kvm",
        "clock_offset": "localtime" if windows else "utc",
        "apic": policy.apic,
        "tb_cache_mb": policy.tb_cache_mb if board.virt_type == "qemu" else None,
        "perf_events": policy.perf_events,
    }
