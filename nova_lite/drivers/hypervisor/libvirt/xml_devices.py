"""Devices of a domain other than disks and network interfaces."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from nova_lite.drivers.hypervisor.libvirt.xml_disks import add_disk, add_scsi_controller
from nova_lite.drivers.hypervisor.libvirt.xml_nics import add_nic
from nova_lite.drivers.hypervisor.libvirt.xml_tools import add, on_off
from nova_lite.model.domain import DomainSpec, GraphicsSpec, ShareSpec

GUEST_AGENT = "org.qemu.guest_agent.0"
SPICE_AGENT = "com.redhat.spice.0"
# Channels of SPICE that carry the user's input and output.
_SPICE_CHANNELS = (
    "main",
    "display",
    "inputs",
    "cursor",
    "playback",
    "record",
    "smartcard",
    "usbredir",
)


def add_devices(root: ET.Element, spec: DomainSpec) -> None:
    """``<devices>`` of the whole DomainSpec."""
    devices = add(root, "devices")
    for disk in spec.disks:
        add_disk(devices, disk)
    add_scsi_controller(devices, spec)
    for nic in spec.nics:
        add_nic(devices, nic)
    for share in spec.shares:
        _add_share(devices, share)
    _add_consoles(devices, spec)
    for graphics in spec.graphics:
        _add_graphics(devices, graphics)
    _add_channels(devices, spec)
    if spec.sound_model:
        add(devices, "sound", model=spec.sound_model)
    if spec.video_model:
        video = add(devices, "video")
        vram = spec.video_ram_mb * 1024 if spec.video_ram_mb else None
        add(video, "model", type=spec.video_model, vram=vram)
    for kind, bus in spec.input_devices:
        add(devices, "input", type=kind, bus=bus)
    _add_rng(devices, spec)
    if spec.tpm:
        model, version = spec.tpm
        tpm = add(devices, "tpm", model=model)
        backend = add(tpm, "backend", type="emulator", version=version)
        if spec.tpm_secret:
            add(backend, "encryption", secret=spec.tpm_secret)
    _add_controllers(devices, spec)
    if spec.watchdog:
        # s390x has its own watchdog; iTCO, the other x86 one, comes with q35 whether asked or not.
        model = "diag288" if spec.arch in ("s390", "s390x") else "i6300esb"
        add(devices, "watchdog", model=model, action=spec.watchdog)
    _add_balloon(devices, spec)
    _add_iommu(devices, spec)


def _add_share(devices: ET.Element, share: ShareSpec) -> None:
    filesystem = add(devices, "filesystem", type="mount", accessmode="passthrough")
    add(filesystem, "driver", type="virtiofs")
    add(filesystem, "source", dir=share.directory)
    add(filesystem, "target", dir=share.tag)


def _add_consoles(devices: ET.Element, spec: DomainSpec) -> None:
    """Serial ports; the first one's output also goes to the console log."""
    if spec.serial_tcp:
        host, ports = spec.serial_tcp
        for number, port in enumerate(ports):
            serial = add(devices, "serial", type="tcp")
            add(serial, "source", mode="bind", host=host, service=port)
            if spec.console_log and number == 0:
                add(serial, "log", file=spec.console_log, append="off")
    elif spec.console_log:
        serial = add(devices, "serial", type="pty")
        add(serial, "log", file=spec.console_log, append="off")


def _add_graphics(devices: ET.Element, graphics: GraphicsSpec) -> None:
    element = add(
        devices,
        "graphics",
        type=graphics.kind,
        autoport="yes",
        keymap=graphics.keymap,
        listen=graphics.listen,
    )
    for name, value in graphics.options.items():
        add(element, name, **{"mode" if name == "streaming" else "compression": value})
    if graphics.kind == "spice" and graphics.tls:
        for channel in _SPICE_CHANNELS:
            add(element, "channel", name=channel, mode="secure")


def _add_channels(devices: ET.Element, spec: DomainSpec) -> None:
    if any(graphics.kind == "spice" and graphics.agent for graphics in spec.graphics):
        add(add(devices, "channel", type="spicevmc"), "target", type="virtio", name=SPICE_AGENT)
    if spec.guest_agent:
        add(add(devices, "channel", type="unix"), "target", type="virtio", name=GUEST_AGENT)


def _add_rng(devices: ET.Element, spec: DomainSpec) -> None:
    if not spec.rng:
        return
    rng = add(devices, "rng", model="virtio")
    if spec.rng_rate:
        size, period = spec.rng_rate
        add(rng, "rate", bytes=size, period=period or None)
    add(rng, "backend", spec.rng, model="random")


def _add_controllers(devices: ET.Element, spec: DomainSpec) -> None:
    if spec.pcie_ports and _has_pcie(spec):
        add(devices, "controller", type="pci", model="pcie-root")
        for _ in range(spec.pcie_ports):
            add(devices, "controller", type="pci", model="pcie-root-port")
    add(devices, "controller", type="usb", index=0, model=spec.usb_model)
    for _ in range(spec.usb_redirections):
        add(devices, "redirdev", type="spicevmc", bus="usb")


def _has_pcie(spec: DomainSpec) -> bool:
    machine = spec.machine or ""
    return "q35" in machine or (spec.arch == "aarch64" and machine.startswith("virt"))


def _add_balloon(devices: ET.Element, spec: DomainSpec) -> None:
    if spec.balloon_period_s and spec.balloon_period_s > 0:
        balloon = add(
            devices, "memballoon", model="virtio", autodeflate="on", freePageReporting="on"
        )
        add(balloon, "stats", period=spec.balloon_period_s)
    else:
        add(devices, "memballoon", model="none")


def _add_iommu(devices: ET.Element, spec: DomainSpec) -> None:
    if not spec.viommu_model:
        return
    iommu = add(devices, "iommu", model=spec.viommu_model)
    if spec.viommu_model == "intel":  # the others have nothing to set
        # Extended interrupts need the kernel's help.
        eim = on_off("q35" in (spec.machine or "") and spec.virt_type == "kvm")
        add(iommu, "driver", intremap="on", caching_mode="on", aw_bits=48, eim=eim, iotlb="on")
