"""The guest we want, in the hypervisor's terms: what ``guest/`` plans and a driver realises.

A DomainSpec is complete: a driver adds nothing that a user could have asked for. Sizes say their
unit in the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nova_lite.model.volume import NetworkSource


@dataclass(frozen=True)
class CpuSpec:
    """``mode`` none/host-model/host-passthrough/maximum/custom; ``features`` are (policy, name)."""

    mode: str | None = None
    model: str | None = None
    match: str | None = None
    sockets: int = 1
    cores: int = 1
    threads: int = 1
    features: tuple[tuple[str, str], ...] = ()
    numa_cells: tuple[GuestNumaCell, ...] = ()
    maxphysaddr: tuple[str, int | None] | None = None


@dataclass(frozen=True)
class GuestNumaCell:
    """A guest NUMA node: its vCPUs, memory, and the host node that holds it (None: floating)."""

    id: int
    cpus: frozenset[int]
    memory_kib: int
    host_node: int | None = None
    shared_memory: bool = False
    page_kib: int | None = None


@dataclass(frozen=True)
class CpuTune:
    """vCPU placement and weights; ``pins`` maps a vCPU to host CPUs, quotas in microseconds."""

    shares: int | None = None
    quota_us: int | None = None
    period_us: int | None = None
    pins: Mapping[int, frozenset[int]] = field(default_factory=dict)
    emulator_pin: frozenset[int] = frozenset()
    realtime: frozenset[int] = frozenset()
    realtime_priority: int = 1


@dataclass(frozen=True)
class MemoryBacking:
    """``pages`` are (page size KiB, guest cell ids); locked/shared as in libvirt."""

    pages: tuple[tuple[int, tuple[int, ...]], ...] = ()
    locked: bool = False
    shared: bool = False
    nosharepages: bool = False
    discard: bool = False
    file_backed: bool = False  # memory in a file of the host, allocated at once


@dataclass(frozen=True)
class DiskSpec:
    """A disk or CD-ROM of the guest.

    ``source`` is a path, or a name that ``network`` knows; ``format`` raw/qcow2; ``kind``
    disk/cdrom/lun/floppy; ``iotune`` holds libvirt's names (read_bytes_sec ...); ``boot_order``
    starts at 1; ``unit`` is the place on a virtio-scsi controller; ``serial`` a volume's id;
    ``secret_uuid`` names the secret that opens a LUKS volume; the block sizes are bytes.
    """

    target: str
    bus: str
    source: str
    format: str = "raw"
    kind: str = "disk"
    source_type: str = "file"
    cache: str | None = None
    io: str | None = None
    discard: str | None = None
    serial: str | None = None
    readonly: bool = False
    boot_order: int | None = None
    iotune: Mapping[str, int] = field(default_factory=dict)
    alias: str | None = None
    unit: int | None = None
    network: NetworkSource | None = None
    secret_uuid: str | None = None
    shareable: bool = False
    logical_block_size: int | None = None
    physical_block_size: int | None = None


@dataclass(frozen=True)
class NicSpec:
    """A network interface.

    ``plug`` says how it reaches the network: ``tap`` (an existing tap device named ``target``),
    ``ethernet`` (libvirt makes the tap ``target``, somebody else connects it),
    ``ovs`` (libvirt adds it to bridge ``bridge`` with ``interface_id``), ``bridge``, ``vhostuser``
    (the socket ``source_path``, of which QEMU is ``source_mode``: server or client), ``direct``
    (macvtap in ``source_mode`` on the interface ``source_path``), ``hostdev`` (the virtual function
    at PCI address ``source_path``), ``pci`` (a whole card there), ``vdpa`` (the device
    ``source_path``). ``mtu`` in bytes; ``vlan`` is set in the card. ``bandwidth`` libvirt's
    inbound/outbound values, which the flavor of the server has a say in where ``shaped``.
    """

    mac: str
    plug: str
    target: str | None = None
    bridge: str | None = None
    interface_id: str | None = None
    model: str | None = "virtio"
    driver: str | None = None
    queues: int | None = None
    rx_queue_size: int | None = None
    tx_queue_size: int | None = None
    mtu: int | None = None
    source_path: str | None = None
    source_mode: str | None = None
    packed: bool = False
    bandwidth: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    boot_order: int | None = None
    vlan: int | None = None
    shaped: bool = True


@dataclass(frozen=True)
class ShareSpec:
    """A directory of the host that the guest mounts by ``tag``, over virtiofs."""

    directory: str
    tag: str


@dataclass(frozen=True)
class GraphicsSpec:
    """A graphical console; the rest is for SPICE only.

    ``kind`` is vnc or spice; ``agent`` a channel for the agent in the guest; ``options`` maps
    libvirt's element to its value: image, jpeg, zlib, playback, streaming.
    """

    kind: str
    listen: str
    keymap: str | None = None
    tls: bool = False
    agent: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainSpec:
    """Everything about one guest. ``metadata`` is the nova XML metadata as nested plain data."""

    uuid: str
    name: str
    title: str
    virt_type: str  # kvm or qemu
    arch: str
    machine: str | None
    memory_kib: int
    vcpus: int
    cpu: CpuSpec = CpuSpec()
    cpu_tune: CpuTune = CpuTune()
    memory_backing: MemoryBacking = MemoryBacking()
    cpuset: frozenset[int] = frozenset()
    firmware: str = "bios"  # bios or uefi
    secure_boot: bool = False
    firmware_stateless: bool = False
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str | None = None
    boot_devices: tuple[str, ...] = ("hd",)
    boot_menu: bool = False
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    shares: tuple[ShareSpec, ...] = ()
    graphics: tuple[GraphicsSpec, ...] = ()
    video_model: str | None = "virtio"
    video_ram_mb: int | None = None
    console_log: str | None = None
    # (address, TCP port of each serial port); None: one that only the console log hears.
    serial_tcp: tuple[str, tuple[int, ...]] | None = None
    rng: str | None = None  # host device path
    rng_rate: tuple[int, int] | None = None  # (bytes, period ms)
    watchdog: str | None = None  # action
    balloon_period_s: int | None = 10
    input_devices: tuple[tuple[str, str], ...] = ()  # (type, bus)
    scsi_model: str | None = None
    usb_model: str | None = None  # 'none' for no controller, None for the hypervisor's choice
    usb_redirections: int = 0
    pcie_ports: int = 0
    guest_agent: bool = False
    sound_model: str | None = None
    viommu_model: str | None = None
    tpm: tuple[str, str] | None = None  # (model, version)
    tpm_secret: str | None = None  # uuid of the secret that its state is encrypted with
    hide_hypervisor: bool = False
    pmu: bool | None = None
    hpet: bool | None = None
    hyperv: bool = False
    clock_offset: str = "utc"
    smbios: Mapping[str, str] = field(default_factory=dict)
    tb_cache_mb: int | None = None
    apic: bool = True
    iothreads: int = 1
    perf_events: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
