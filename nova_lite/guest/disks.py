"""The disks of a guest: files, names, buses, sizes; and what must be remembered of them.

The names follow the order in which Nova gives them (root, ephemeral, swap, volumes, config drive),
so that a server has the same devices on a stock host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from nova_lite.errors import InvalidBlockDevice, InvalidVolume
from nova_lite.guest import machine as machines
from nova_lite.guest import naming
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.guest.values import DEVICE_TYPES
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.domain import DiskSpec
from nova_lite.model.server import BlockDevice, Server
from nova_lite.model.volume import ConnectedVolume, VolumeSource

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True)
class PlannedDisk:
    """One disk of the guest.

    ``name`` is the file below the server's directory ('disk', 'disk.eph0', 'disk.local',
    'disk.swap', 'disk.config') or None for a volume; ``device_name`` is '/dev/vda'. ``kind`` is
    disk/cdrom/floppy/lun, ``size_bytes`` 0 for as large as the image. ``fs`` is the mkfs name of an
    empty disk, ``boot_index`` counts from 0, ``bdm_uuid`` names its block device entry.
    """

    name: str | None
    device_name: str
    bus: str
    kind: str = "disk"
    size_bytes: int = 0
    fs: str | None = None
    label: str | None = None
    boot_index: int | None = None
    bdm_uuid: str | None = None
    tag: str | None = None
    volume_id: str | None = None

    @property
    def target(self) -> str:
        return self.device_name.removeprefix("/dev/")


@dataclass(frozen=True)
class DiskPlan:
    """All disks in the order in which the guest sees them, and what Nova's records must say.

    ``disk_bus``/``cdrom_bus`` are the server's usual buses. ``bdm_updates`` maps the uuid of a
    block device entry to the device_name, disk_bus and device_type to save;
    ``default_ephemeral_device`` is set only for an ephemeral disk that has no entry of its own.
    """

    disks: tuple[PlannedDisk, ...]
    disk_bus: str
    cdrom_bus: str
    root_device_name: str
    default_ephemeral_device: str | None = None
    default_swap_device: str | None = None
    bdm_updates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def local(self) -> tuple[PlannedDisk, ...]:
        """The disks that are files of this host."""
        return tuple(disk for disk in self.disks if disk.name)

    @property
    def boot_devices(self) -> tuple[str, ...]:
        """libvirt's boot device classes in boot order."""
        bootable = [disk for disk in self.disks if disk.boot_index is not None]
        ordered = sorted(bootable, key=lambda disk: disk.boot_index or 0)
        return machines.boot_devices(disk.kind for disk in ordered)

    def get(self, name: str) -> PlannedDisk | None:
        """The local disk with that file name."""
        return next((disk for disk in self.disks if disk.name == name), None)


def plan_disks(
    server: Server,
    block_devices: Iterable[BlockDevice],
    *,
    machine: Machine,
    policy: HostPolicy,
    config_drive: bool | None = None,
) -> DiskPlan:
    """Lay out the disks of ``server``.

    :param block_devices: its block device mapping; names and buses found there are kept
    :param machine: from machine.plan_machine
    :param config_drive: whether to add one; None: as the server says
    :raises InvalidBlockDevice: an entry cannot be honoured, or there are too many
    :raises InvalidGuestConfig: an image property about disks is invalid
    """
    layout = _Layout(server, list(block_devices), machine, policy)
    layout.add_root()
    layout.add_ephemerals()
    layout.add_swap()
    layout.add_volumes()
    if server.config_drive if config_drive is None else config_drive:
        layout.add_config_drive()
    return layout.result()


class _Layout:
    """The disks placed so far."""

    def __init__(
        self, server: Server, devices: list[BlockDevice], machine: Machine, policy: HostPolicy
    ) -> None:
        self._server, self._machine, self._policy = server, machine, policy
        self._properties = Properties(server)
        self._disks: list[PlannedDisk] = []
        self._disk_bus = naming.bus_for("disk", self._properties, machine)
        self._cdrom_bus = naming.bus_for("cdrom", self._properties, machine)
        self._volumes = [d for d in devices if d.destination_type == "volume"]
        local = [d for d in devices if d.destination_type == "local"]
        self._images = [d for d in local if d.source_type == "image"]
        blank = [d for d in local if d.source_type == "blank"]
        self._swaps = [d for d in blank if d.guest_format == "swap"]
        self._ephemerals = [d for d in blank if d.guest_format != "swap"]
        # Names that the user chose are not given to anybody else.
        self._reserved = {name for device in devices if (name := naming.strip(device.device_name))}

    def add_root(self) -> None:
        if len(self._images) > 1:
            raise InvalidBlockDevice(
                "only one block device may have source_type image and destination_type local"
            )
        entry = self._images[0] if self._images else None
        volume = next((v for v in self._volumes if v.boot_index == 0), None)
        iso = self._server.image.disk_format == "iso"
        bus, kind = (self._cdrom_bus, "cdrom") if iso else (self._disk_bus, "disk")
        local = entry is not None or volume is None
        wanted = entry or volume or BlockDevice("", "image", "local", boot_index=0)
        # A volume that the guest has had as something else stays that.
        placed = wanted.device_name and wanted.disk_bus and wanted.device_type
        if iso and (local or not placed):
            wanted = replace(wanted, disk_bus=bus, device_type=kind)
        if not wanted.device_name and self._server.root_device_name:
            wanted = replace(wanted, device_name=self._server.root_device_name)
        if not local and volume is not None:
            self._volumes.remove(volume)
            self._add_volume(wanted, bus)
            return
        size = self._server.flavor.root_gb * GIB
        root = self._place(wanted, bus, kind, name="disk", size_bytes=size)
        self._disks.append(replace(root, boot_index=0))

    def add_ephemerals(self) -> None:
        flavor = self._server.flavor
        if flavor.ephemeral_gb and not self._ephemerals:
            size = flavor.ephemeral_gb * GIB
            entry = BlockDevice("", "blank", "local")
            self._disks.append(self._ephemeral(entry, "disk.local", 0, size))
        for index, entry in enumerate(self._ephemerals):
            size = (entry.size_gb or 0) * GIB
            if not size:
                raise InvalidBlockDevice(f"ephemeral block device {entry.uuid} has no size")
            self._disks.append(self._ephemeral(entry, f"disk.eph{index}", index, size))

    def _ephemeral(self, entry: BlockDevice, name: str, index: int, size: int) -> PlannedDisk:
        disk = self._place(entry, self._disk_bus, "disk", name=name, size_bytes=size)
        fs = entry.guest_format or self._policy.ephemeral_fs or self._usual_fs()
        return replace(disk, fs=fs, label=f"ephemeral{index}")

    def _usual_fs(self) -> str:
        """What the guest's operating system reads; vfat is read by all."""
        by_os = {"linux": "ext4", "windows": "ntfs"}
        return by_os.get(self._properties.image("os_type") or "", "vfat")

    def add_swap(self) -> None:
        if len(self._swaps) > 1:
            raise InvalidBlockDevice("more than one swap disk is requested")
        entry = self._swaps[0] if self._swaps else BlockDevice("", "blank", "local")
        # Nova's records hold the size of swap in MiB.
        size = (entry.size_gb or 0) or self._server.flavor.swap_mb
        if size <= 0:
            return
        disk = self._place(entry, self._disk_bus, "disk", name="disk.swap", size_bytes=size * MIB)
        self._disks.append(replace(disk, fs="swap"))

    def add_volumes(self) -> None:
        for entry in self._volumes:
            self._add_volume(entry)

    def _add_volume(self, entry: BlockDevice, usual_bus: str | None = None) -> None:
        """Without a usual bus: a volume's name says more about its bus than the image does, which
        is that of the root disk."""
        size = (entry.size_gb or 0) * GIB
        self._disks.append(self._place(entry, usual_bus, "disk", name=None, size_bytes=size))

    def add_config_drive(self) -> None:
        iso = self._policy.config_drive_format == "iso9660"
        kind, bus = ("cdrom", self._cdrom_bus) if iso else ("disk", self._disk_bus)
        entry = BlockDevice("", "blank", "local")
        self._disks.append(self._place(entry, bus, kind, name="disk.config", size_bytes=0))

    def _place(
        self, entry: BlockDevice, usual_bus: str | None, usual_kind: str, *, name: str | None,
        size_bytes: int,
    ) -> PlannedDisk:  # fmt: skip
        """Give ``entry`` a bus and a device name, its own ones where they are possible."""
        kind = entry.device_type or usual_kind
        if kind not in DEVICE_TYPES:
            kind = "disk"
        bus, target = entry.disk_bus or usual_bus, naming.strip(entry.device_name)
        if bus is None or not naming.usable_bus(bus):
            bus = (
                naming.bus_of_name(target)
                if target
                else naming.bus_for(kind, self._properties, self._machine)
            )
        if not target:
            target = naming.next_name(
                bus,
                {disk.target for disk in self._disks} | self._reserved,
                prefix=self._policy.disk_prefix,
                limit=self._policy.max_disks,
            )
        elif any(disk.target == target for disk in self._disks):
            raise InvalidBlockDevice(f"two block devices are to be /dev/{target}")
        index = entry.boot_index if entry.boot_index is not None and entry.boot_index >= 0 else None
        return PlannedDisk(
            name, f"/dev/{target}", bus, kind, size_bytes, boot_index=index,
            bdm_uuid=entry.uuid or None, tag=entry.tag, volume_id=entry.volume_id,
        )  # fmt: skip

    def result(self) -> DiskPlan:
        def device(name: str) -> str | None:
            disks = (disk for disk in self._disks if disk.name == name)
            return next((disk.device_name for disk in disks), None)

        boot = [d for d in self._disks if d.boot_index == 0]
        if not boot:
            raise InvalidBlockDevice("no block device has boot_index 0: there is nothing to boot")
        return DiskPlan(
            tuple(self._disks),
            self._disk_bus,
            self._cdrom_bus,
            root_device_name=boot[0].device_name,
            default_ephemeral_device=device("disk.local"),
            default_swap_device=device("disk.swap"),
            bdm_updates={
                disk.bdm_uuid: {
                    "device_name": disk.device_name,
                    "disk_bus": disk.bus,
                    "device_type": disk.kind,
                }
                for disk in self._disks
                if disk.bdm_uuid
            },
        )


def disk_specs(
    plan: DiskPlan,
    sources: Mapping[str, VolumeSource],
    volumes: Mapping[str, ConnectedVolume],
    properties: Properties,
    policy: HostPolicy,
) -> tuple[DiskSpec, ...]:
    """The disks as the guest definition names them: the root disk, those of this host, volumes.

    A guest boots from the first one of its kind.

    :param sources: where each local disk is, by its file name
    :param volumes: the connected volumes by their ids
    :raises InvalidVolume: a volume of the plan is not connected
    """
    unit = _units(plan, properties)
    tune = iotune(properties)
    ordered = sorted(plan.disks, key=lambda disk: (disk.boot_index != 0, disk.name is None))
    return tuple(
        local_spec(disk, sources[disk.name], tune, policy, unit(disk))
        if disk.name
        else volume_spec(disk, _connected(disk, volumes), policy, unit(disk))
        for disk in ordered
    )


def local_spec(
    disk: PlannedDisk,
    source: VolumeSource,
    tune: Mapping[str, int],
    policy: HostPolicy,
    unit: int | None,
) -> DiskSpec:
    """One disk that is kept for this host's guest alone."""
    usual = "none" if policy.direct_io or source.type != "file" else "writethrough"
    return DiskSpec(
        disk.target,
        disk.bus,
        source.path,
        format=source.format,
        kind=disk.kind,
        source_type=source.type,
        cache=policy.disk_cachemodes.get(source.type, usual),
        io=source.io or (policy.disk_io if disk.kind == "disk" else None),
        discard=policy.disk_discard,
        readonly=disk.kind == "cdrom",
        iotune=tune,
        unit=unit,
        network=source.network,
    )


def _units(plan: DiskPlan, properties: Properties) -> Callable[[PlannedDisk], int | None]:
    """Gives each disk its place on a virtio-scsi controller; the first one is the root disk's."""
    if properties.image("hw_scsi_model") != "virtio-scsi":
        return lambda disk: None
    root_is_volume = any(disk.volume_id and disk.boot_index == 0 for disk in plan.disks)
    places = iter(range(1 if root_is_volume else 0, 256))

    def unit(disk: PlannedDisk) -> int | None:
        if disk.bus != "scsi":
            return None
        return 0 if disk.volume_id and disk.boot_index == 0 else next(places)

    return unit


def _connected(disk: PlannedDisk, volumes: Mapping[str, ConnectedVolume]) -> ConnectedVolume:
    try:
        return volumes[str(disk.volume_id)]
    except KeyError:
        raise InvalidVolume(
            f"Invalid volume: volume {disk.volume_id} is to be {disk.device_name}, but it is not "
            "connected to this host; detach it and attach it again"
        ) from None


def iotune(properties: Properties) -> dict[str, int]:
    """``quota:disk_*`` extra specs under libvirt's names; bytes and requests per second."""
    result = {}
    for way in ("read", "write", "total"):
        for unit in ("bytes", "iops"):
            limit = properties.spec(f"quota:disk_{way}_{unit}_sec")
            if limit:
                result[f"{way}_{unit}_sec"] = limit
    return result
