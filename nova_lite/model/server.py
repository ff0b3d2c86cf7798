"""A server as its user asked for it: flavor, image, keys; knows neither wire nor libvirt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova_lite.model.volume import Connection


@dataclass(frozen=True)
class Flavor:
    """A flavor; sizes in MiB (memory, swap) and GiB (disks)."""

    name: str
    flavorid: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    rxtx_factor: float = 1.0
    extra_specs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """The image a server boots from; ``properties`` are plain ``hw_*``/``os_*``/``img_*`` values.

    ``size`` is in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB. ``id`` is None for a server
    booted from a volume. ``locations`` are addresses within storage that this host may reach, too.
    """

    id: str | None
    name: str = ""
    disk_format: str | None = None
    container_format: str | None = None
    checksum: str | None = None
    size: int = 0
    min_disk: int = 0
    min_ram: int = 0
    status: str = "active"
    properties: Mapping[str, Any] = field(default_factory=dict)
    locations: Sequence[str] = ()


@dataclass(frozen=True)
class BlockDevice:
    """One entry of the block device mapping.

    ``source_type`` is image/blank/volume/snapshot, ``destination_type`` local/volume,
    ``guest_format`` 'swap' or a file system, ``size_gb`` in GiB (swap: MiB). Of a volume:
    ``attachment_id`` is Cinder's, ``connection`` how this host reaches it (None: not yet).
    """

    uuid: str
    source_type: str
    destination_type: str
    boot_index: int | None = None
    device_name: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    guest_format: str | None = None
    size_gb: int | None = None
    image_id: str | None = None
    volume_id: str | None = None
    tag: str | None = None
    snapshot_id: str | None = None
    volume_type: str | None = None
    attachment_id: str | None = None
    delete_on_termination: bool = False
    connection: Connection | None = None


@dataclass(frozen=True)
class Server:
    """A server, and who asked for it.

    ``domain_name`` is the libvirt name (``instance-%08x`` of the row id), ``metadata`` the user's
    key/value pairs, ``key_data`` a public SSH key, ``user_data`` base64 text.
    """

    uuid: str
    domain_name: str
    display_name: str
    hostname: str
    flavor: Flavor
    image: Image
    project_id: str = ""
    project_name: str = ""
    user_id: str = ""
    user_name: str = ""
    key_name: str | None = None
    key_data: str | None = None
    key_type: str = "ssh"
    user_data: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    launch_index: int = 0
    reservation_id: str | None = None
    config_drive: bool = False
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    root_device_name: str | None = None
    ec2_instance_id: str | None = None
    ec2_ami_id: str | None = None
    created_at: str | None = None
