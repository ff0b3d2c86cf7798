"""What the hypervisor is asked for, to send a running guest to another host.

The guest goes as it runs. Only what differs on the other host is changed, as that has told: its
addresses, its side of ports and volumes, its CPUs.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from nova_lite.errors import InvalidConfiguration, MalformedMessage
from nova_lite.guest.disks import PlannedDisk
from nova_lite.guest.volumes import volume_spec
from nova_lite.model.domain import CpuTune, DiskSpec, NicSpec
from nova_lite.model.live_migration import GuestChanges, LiveMigration
from nova_lite.model.states import VmState
from nova_lite.model.volume import ConnectedVolume
from nova_lite.services import guest, live_moves, migrate_data, volume_keys
from nova_lite.services.forecast import Method
from nova_lite.services.migrate_data import MovedVolume
from nova_lite.services.notes import LiveNotes
from nova_lite.services.volumes import connection_of, volume_mappings
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

NOVA = "nova"  # the method: as [libvirt] says
SCHEME = "tcp"  # of libvirt's own connection; as stock where nothing is configured


def target_uri(work: Work) -> str:
    """The URI of the other host's libvirt.

    :raises InvalidConfiguration: [libvirt]live_migration_uri has no place for a host
    """
    options = work.tools.conf.libvirt
    host = _host(_address(work) or live_moves.target(work))
    if not options.live_migration_uri:
        return f"qemu+{options.live_migration_scheme or SCHEME}://{host}/system"
    try:
        return str(options.live_migration_uri % host)
    except (TypeError, ValueError):
        raise InvalidConfiguration(
            f"[libvirt]live_migration_uri = {options.live_migration_uri} names no host: write %s "
            "where the name of the other host belongs"
        ) from None


def migrate_uri(work: Work) -> str | None:
    """Where memory and disks go; None: where the name of the other host leads."""
    address = _address(work)
    return f"tcp://{_host(address)}" if address else None


def _address(work: Work) -> str | None:
    found = live_moves.data(work).get("target_connect_addr")
    return str(found) if found else None


def _host(address: str) -> str:
    try:
        six = ipaddress.ip_address(address).version == 6
    except ValueError:
        return address
    return f"[{address}]" if six else address


def request(work: Work) -> LiveMigration:
    """What the hypervisor is to do."""
    options = work.tools.conf.libvirt
    post_copy = may_post_copy(work)
    # With post-copy at hand nobody has to be slowed down, unless that was chosen.
    converge = bool(options.live_migration_permit_auto_converge) and not post_copy
    method = LiveNotes.of(work.notes).live_method
    if method not in (None, NOVA):
        converge = method == Method.AUTO_CONVERGE
    return LiveMigration(
        target_uri(work),
        work.tools.hypervisor.live_definition(work.uuid, changes(work)),
        migrate_uri=migrate_uri(work),
        disks=tuple(disk.target for disk in live_moves.copied_disks(work)),
        bandwidth_mib_s=max(0, options.live_migration_bandwidth),
        post_copy=post_copy,
        auto_converge=converge,
        tls=bool(options.live_migration_with_native_tls),
        connections=max(1, options.live_migration_parallel_connections),
    )


def may_post_copy(work: Work) -> bool:
    """Whether the guest may run on the other host before all of its memory is there; a guest that
    is paused has nothing to run for."""
    permitted = bool(work.tools.conf.libvirt.live_migration_permit_post_copy)
    return permitted and work.instance.get("vm_state") != VmState.PAUSED


def changes(work: Work) -> GuestChanges:
    """What of the guest differs on the other host."""
    data = live_moves.data(work)
    listening = migrate_data.listening(data)
    listen = {
        kind: address
        for kind, address in (("vnc", listening.vnc), ("spice", listening.spice))
        if address
    }
    serial = (listening.serial, listening.serial_ports) if listening.serial else None
    return GuestChanges(
        listen=listen,
        serial=serial,
        nics=_nics(work, data),
        volumes=_volumes(work, data),
        drop_cpu_shares="quota:cpu_shares" not in work.server.flavor.extra_specs,
        perf_events=_events(data),
        file_backed_memory=data.get("dst_wants_file_backed_memory"),
        **_cpus(work, data),
    )


def _nics(work: Work, data: WireObject) -> dict[str, NicSpec]:
    """Network cards by MAC address, as far as their ports have bindings for the other host."""
    if not migrate_data.is_bound(data):
        return {}
    found = live_moves.target_vifs(work, data, live_moves.target(work))
    return {vif.mac: guest.nic_of(work, vif) for vif in found}


def _volumes(work: Work, data: WireObject) -> dict[str, DiskSpec]:
    """Disks by the ids of their volumes.

    How the other host reaches them the mappings say, which it has saved.
    """
    told = migrate_data.volumes(data)
    mappings = {str(one["volume_id"]): one for one in volume_mappings(work)} if told else {}
    if unknown := {one.volume_id for one in told} - mappings.keys():
        raise MalformedMessage(
            f"host {live_moves.target(work)} has connected volume {', '.join(sorted(unknown))}, "
            f"which server {work.uuid} does not have any more: try again"
        )
    return {one.volume_id: _disk(work, one, mappings[one.volume_id]) for one in told}


def _disk(work: Work, told: MovedVolume, mapping: WireObject) -> DiskSpec:
    connection = told.connection or connection_of(mapping)
    disk = PlannedDisk(
        None, f"/dev/{told.target}", told.bus, told.kind, volume_id=told.volume_id
    )
    source = work.tools.volumes.of(connection).source(connection)
    secret = told.secret or volume_keys.secret_uuid(work, connection)
    return volume_spec(disk, ConnectedVolume(connection, source, secret), work.tools.policy)


def _events(data: WireObject) -> tuple[str, ...] | None:
    told: Iterable[str] | None = data.get("supported_perf_events")
    return None if told is None else tuple(told)


def _cpus(work: Work, data: WireObject) -> Mapping[str, Any]:
    """The host CPUs: of a guest that is pinned its own ones, else those that all may use."""
    pins = migrate_data.pins(data)
    if pins is None:
        told = "dst_cpu_shared_set_info" in data
        return {"cpuset": migrate_data.shared_cpus(data)} if told else {}
    usual = work.tools.policy.realtime_priority if pins.priority is None else pins.priority
    tune = CpuTune(
        pins=pins.cpus,
        emulator_pin=pins.emulator,
        realtime=pins.scheduled,
        realtime_priority=usual,
    )
    return {"pins": tune, "memory_nodes": pins.nodes}
