"""Volumes as this host connects them: where Cinder says they are, and what a guest's disk needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NetworkSource:
    """How QEMU reaches a disk by itself.

    ``protocol`` is rbd, iscsi, nbd ...; ``hosts`` are (address, TCP port), the hypervisor's usual
    port where there is none. ``secret_uuid`` names the secret of kind ``secret_type`` (ceph, iscsi)
    that the hypervisor holds for ``user``. ``config`` is a file such as ceph.conf.
    """

    protocol: str
    hosts: tuple[tuple[str, str | None], ...] = ()
    user: str | None = None
    secret_type: str | None = None
    secret_uuid: str | None = None
    config: str | None = None


@dataclass(frozen=True)
class VolumeSource:
    """What a guest's disk reads and writes.

    ``path`` is a file, a block device or, with ``network``, the name over there ('pool/image');
    ``format`` raw or qcow2. ``io`` is QEMU's way of doing I/O (native, threads) where it matters,
    ``cache`` its cache mode unless nova.conf says otherwise.
    """

    path: str
    type: str = "file"  # file, block or network
    format: str = "raw"
    network: NetworkSource | None = None
    io: str | None = None
    cache: str = "none"


@dataclass(frozen=True)
class Connection:
    """One volume's way to this host, as Cinder describes it.

    ``type`` is Cinder's driver_volume_type, ``data`` what belongs to it; it may hold secrets and is
    for its volume driver alone. ``extra`` keeps what else Cinder and stock agents have written.
    """

    type: str
    volume_id: str
    data: Mapping[str, Any] = field(repr=False)
    multiattach: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether what the volume holds is encrypted."""
        return bool(self.data.get("encrypted"))

    @property
    def readonly(self) -> bool:
        """Whether Cinder allows reading only."""
        return bool(self.data.get("access_mode") == "ro")

    @property
    def discard(self) -> bool:
        """Whether the storage takes notice of what a guest has discarded."""
        return bool(self.data.get("discard"))

    @property
    def qos(self) -> Mapping[str, Any]:
        """Limits for the front end under Cinder's names; bytes and requests per second."""
        return self.data.get("qos_specs") or {}


@dataclass(frozen=True)
class ConnectedVolume:
    """A volume within this host's reach; ``secret_uuid`` names the secret that opens its LUKS."""

    connection: Connection
    source: VolumeSource
    secret_uuid: str | None = None
