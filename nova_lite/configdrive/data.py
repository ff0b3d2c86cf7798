"""What goes onto a config drive, beyond the server and its interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite.model.network import Vif
from nova_lite.model.server import BlockDevice, Server

SKIPPED_EC2 = tuple(
    "1.0 2007-01-19 2007-03-01 2007-08-29 2007-10-10 2007-12-15 2008-02-01 2008-09-01".split()
)


@dataclass(frozen=True)
class Device:
    """A device as the guest finds it, so that it can tell it by the user's tag.

    ``kind`` is nic, disk or share; ``bus`` pci, usb, scsi, ide or none; ``address`` what the
    hypervisor gave it (0000:00:02.0). ``mac``, ``vlan`` and ``trusted`` are for nics, ``serial``
    and ``path`` for disks, ``share_id`` and ``share_tag`` for shares.
    """

    kind: str
    bus: str = "none"
    address: str = "none"
    tags: tuple[str, ...] = ()
    mac: str | None = None
    vlan: int | None = None
    trusted: bool = False
    serial: str | None = None
    path: str | None = None
    share_id: str | None = None
    share_tag: str | None = None


@dataclass(frozen=True)
class Ec2Ids:
    """Old style ids of the images a server was made from."""

    kernel: str | None = None
    ramdisk: str | None = None


@dataclass(frozen=True)
class DriveData:
    """Everything that the content depends on.

    ``files`` are (path in the guest, bytes). ``admin_password`` is None when none is to be told.
    ``security_groups`` are names, one per port and group, as Neutron lists them.
    ``ephemeral_device`` and ``swap_device`` are the server's default ones. ``dhcp_domain``
    is [api]dhcp_domain; ``skip_ec2`` the EC2 versions left out. ``vendor_static`` is the content
    of [api]vendordata_jsonfile_path, None when the StaticJSON provider is off; ``vendor_dynamic``
    what the operator's services answer, by their names.
    """

    server: Server
    vifs: tuple[Vif, ...] = ()
    admin_password: str | None = field(default=None, repr=False)
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    devices: tuple[Device, ...] = ()
    dedicated_cpus: tuple[int, ...] = ()
    security_groups: tuple[str, ...] = ()
    block_devices: tuple[BlockDevice, ...] = ()
    ephemeral_device: str | None = None
    swap_device: str | None = None
    ec2: Ec2Ids = Ec2Ids()
    dhcp_domain: str = "novalocal"
    skip_ec2: tuple[str, ...] = SKIPPED_EC2
    vendor_static: Mapping[str, Any] | None = field(default_factory=dict)
    vendor_dynamic: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hostname(self) -> str:
        """The host name with the configured domain."""
        name = self.server.hostname
        return f"{name}.{self.dhcp_domain}" if self.dhcp_domain else name
