"""LibvirtLiveMigrateData: what the two hosts of a live migration tell each other, field by field.

The target makes it (:func:`new`), the source adds to it, the conductor puts in the bindings of the
ports on the target, and the target what it has prepared. All of them send the same object on, with
what they do not know. Fields and versions are those of nova/objects/migrate_data.py: 1.13 is known
to all releases from 2025.1. 1.14 (2026.1) has the secret of an emulated TPM: it is made for servers
that have one alone, where both hosts know it (``services/live_tpm.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nova_lite.errors import MalformedMessage
from nova_lite.model.network import NORMAL, Vif
from nova_lite.model.volume import Connection
from nova_lite.wire import connection_info, network_info
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import numbers

NAME, MADE, WITH_TPM = "LibvirtLiveMigrateData", "1.13", "1.14"
VIF, VIF_VERSION = "VIFMigrateData", "1.0"
VOLUME, VOLUME_VERSION = "LibvirtLiveMigrateBDMInfo", "1.1"
NUMA, NUMA_VERSION = "LibvirtLiveMigrateNUMAInfo", "1.0"
DELEGATION = "os_vif_delegation"  # of a binding profile: the host's os-vif plugs by itself


@dataclass(frozen=True)
class MovedVolume:
    """A volume as the target has connected it.

    ``target`` is the disk's name in the guest (vda), ``secret`` the uuid of the target's libvirt
    secret that opens an encrypted one. ``connection`` is None where nobody has kept it: it is the
    one of the block device mapping, then, which the target has saved.
    """

    volume_id: str
    target: str
    bus: str
    kind: str = "disk"
    connection: Connection | None = None
    format: str | None = None
    boot_index: int | None = None
    secret: str | None = None


@dataclass(frozen=True)
class Pins:
    """Where the target wants the guest's vCPUs and memory: host CPUs by vCPU, host nodes by guest
    node. ``scheduled`` are vCPUs with a real-time priority."""

    cpus: Mapping[int, frozenset[int]]
    nodes: Mapping[int, frozenset[int]]
    emulator: frozenset[int] = frozenset()
    scheduled: frozenset[int] = frozenset()
    priority: int | None = None


@dataclass(frozen=True)
class Listening:
    """Addresses for the guest's consoles on the target; None: it has no such console there."""

    vnc: str | None = None
    spice: str | None = None
    serial: str | None = None
    serial_ports: tuple[int, ...] = field(default=())


def new(*, tpm: bool = False, **fields: Any) -> WireObject:
    """The object as the target begins it; fields without a value (None) may be named, too.

    :param tpm: whether the server has an emulated TPM, and the control plane knows of that
    """
    return WireObject.new(NAME, WITH_TPM if tpm else MADE, **fields)


def read(value: Any) -> WireObject:
    """The object in a message.

    :raises MalformedMessage: it is none, as that of another hypervisor
    """
    if not isinstance(value, WireObject) or value.name != NAME:
        raise MalformedMessage(
            f"the hosts of a live migration do not agree on {NAME}: check that both of them use "
            "libvirt"
        )
    return value


# --- storage ------------------------------------------------------------------------------------
def copies_disks(data: WireObject) -> bool:
    """Whether the guest's local disks are copied, as the source has decided."""
    return bool(data.get("block_migration", False))


def shares_directory(data: WireObject) -> bool:
    """Whether both hosts have the server's directory."""
    return bool(data.get("is_shared_instance_path", False))


def shares_disks(data: WireObject) -> bool:
    """Whether the target reaches the guest's local disks: in that directory, in a cluster, or
    because it has none."""
    return bool(data.get("is_shared_block_storage", False))


# --- ports --------------------------------------------------------------------------------------
def skeleton(vifs: Iterable[Vif]) -> list[WireObject]:
    """Of each port of the server what the source is to unplug; the conductor adds the binding of
    the target."""
    return [
        WireObject.new(
            VIF,
            VIF_VERSION,
            port_id=vif.id,
            source_vif=_one(vif),
            profile_json=json.dumps({DELEGATION: True}),
        )
        for vif in vifs
    ]


def is_bound(data: WireObject) -> bool:
    """Whether the ports have bindings for the target; else they are bound when the server is
    there, and no event tells that they are plugged."""
    return any(vif.get("vif_type") for vif in data.get("vifs", ()))


def source_vifs(data: WireObject) -> list[Vif]:
    """The ports as they are plugged on the source."""
    found = (vif.get("source_vif") for vif in data.get("vifs", ()))
    return [vif for text in found if text for vif in network_info.load(f"[{text}]")]


def target_vifs(data: WireObject, known: Iterable[Vif], *, taps: bool = True) -> list[Vif]:
    """The ports as the target is to plug them.

    :param known: as they are on the source; those without a binding for the target stay so
    :param taps: both hosts know of taps that are made before the guest comes
    """
    bound = {str(vif["port_id"]): vif for vif in data.get("vifs", ()) if vif.get("vif_type")}
    found = [_bound(vif, bound[vif.id]) if vif.id in bound else vif for vif in known]
    return found if taps else [vif.made_by_libvirt for vif in found]


def _bound(vif: Vif, binding: WireObject) -> Vif:
    profile = json.loads(binding.get("profile_json") or "{}")
    delegated = bool(profile.get(DELEGATION, False))
    return replace(
        vif,
        vif_type=str(binding["vif_type"]),
        vnic_type=binding.get("vnic_type") or NORMAL,
        details=json.loads(binding.get("vif_details_json") or "{}"),
        profile=profile,
        active=False,
        meta={**vif.meta, "delegate_create": delegated},
    )


def _one(vif: Vif) -> str:
    (primitive,) = json.loads(network_info.dump([vif]))
    return json.dumps(primitive)


# --- volumes ------------------------------------------------------------------------------------
def write_volumes(data: WireObject, volumes: Iterable[MovedVolume]) -> None:
    """Tell the source how the target has connected the volumes."""
    data.set(bdms=[_volume_out(volume) for volume in volumes])


def _volume_out(volume: MovedVolume) -> WireObject:
    fields: dict[str, Any] = {
        "serial": volume.volume_id,
        "bus": volume.bus,
        "dev": volume.target,
        "type": volume.kind,
        "format": volume.format,
        "boot_index": volume.boot_index,
    }
    if volume.connection is not None:
        fields["connection_info_json"] = connection_info.dump(volume.connection)
    if volume.secret is not None:
        fields["encryption_secret_uuid"] = volume.secret
    return WireObject.new(VOLUME, VOLUME_VERSION, **fields)


def volumes(data: WireObject) -> list[MovedVolume]:
    """The volumes as the target has connected them."""
    return [
        MovedVolume(
            volume_id=str(row["serial"]),
            target=str(row["dev"]),
            bus=str(row["bus"]),
            kind=row.get("type") or "disk",
            connection=connection_info.load(row.get("connection_info_json"), str(row["serial"])),
            format=row.get("format"),
            boot_index=row.get("boot_index"),
            secret=row.get("encryption_secret_uuid"),
        )
        for row in data.get("bdms", ())
    ]


def old_attachments(data: WireObject) -> dict[str, str]:
    """Volume id -> Cinder attachment of the source."""
    return dict(data.get("old_vol_attachment_ids", {}))


# --- the emulated TPM ---------------------------------------------------------------------------
def knows_tpm(data: WireObject) -> bool:
    """Whether who has made or sent the object, and the control plane, know of secrets of TPMs."""
    return numbers(data.version) >= numbers(WITH_TPM)


def write_tpm_secret(data: WireObject, secret: tuple[str, bytes] | None) -> None:
    """Tell the target what opens the server's TPM.

    :param secret: uuid and value of the source's secret; None: the target gets it elsewhere
    :raises UnicodeDecodeError: the value is not in ASCII, as those that nova makes are
    """
    uuid, value = secret if secret is not None else (None, None)
    text = None if value is None else value.decode("ascii")
    data.set(vtpm_secret_uuid=uuid, vtpm_secret_value=text)


def tpm_secret(data: WireObject) -> tuple[str, bytes] | None:
    """Uuid and value of the source's secret; None: it was not sent, or is lost."""
    uuid, value = data.get("vtpm_secret_uuid"), data.get("vtpm_secret_value")
    return (str(uuid), str(value).encode("ascii")) if uuid and value else None


def drop_tpm_secret(data: WireObject) -> None:
    """Leave the secret out of what need not have it; that the server has a TPM stays."""
    if data.get("vtpm_secret_value") is not None:
        data.set(vtpm_secret_value=None)


# --- consoles, CPUs -----------------------------------------------------------------------------
def listening(data: WireObject) -> Listening:
    """Where the guest's consoles are to listen."""
    return Listening(
        vnc=data.get("graphics_listen_addr_vnc"),
        spice=data.get("graphics_listen_addr_spice"),
        serial=data.get("serial_listen_addr"),
        serial_ports=tuple(data.get("serial_listen_ports", ())),
    )


def write_pins(data: WireObject, found: Pins) -> None:
    """Tell the source where the guest is to run on this host."""
    fields: dict[str, Any] = {
        "cpu_pins": {str(cpu): sorted(hosts) for cpu, hosts in found.cpus.items()},
        "cell_pins": {str(node): sorted(hosts) for node, hosts in found.nodes.items()},
        "emulator_pins": sorted(found.emulator),
    }
    if found.scheduled:
        fields["sched_vcpus"] = sorted(found.scheduled)
        fields["sched_priority"] = found.priority
    data.set(dst_numa_info=WireObject.new(NUMA, NUMA_VERSION, **fields))


def pins(data: WireObject) -> Pins | None:
    """Where the guest's vCPUs and memory are to be on the target; None: it was not asked."""
    found = data.get("dst_numa_info")
    if found is None or not found.get("cpu_pins"):
        return None
    return Pins(
        cpus=_sets(found.get("cpu_pins")),
        nodes=_sets(found.get("cell_pins", {})),
        emulator=frozenset(found.get("emulator_pins", ())),
        scheduled=frozenset(found.get("sched_vcpus", ())),
        priority=found.get("sched_priority"),
    )


def shared_cpus(data: WireObject) -> frozenset[int]:
    """The target's CPUs for vCPUs without a host CPU of their own; empty: all of them."""
    return frozenset(data.get("dst_cpu_shared_set_info", ()))


def _sets(found: Mapping[Any, Iterable[int]]) -> dict[int, frozenset[int]]:
    return {int(key): frozenset(values) for key, values in found.items()}
