"""From an operation's server to the guest that the hypervisor is asked for."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from nova_lite.clock import Clock
from nova_lite.configdrive import options
from nova_lite.errors import MalformedMessage
from nova_lite.guest import checks, consoles, devices, machine, metadata, values
from nova_lite.guest.defaults import registered_details
from nova_lite.guest.disks import DiskPlan, PlannedDisk, plan_disks
from nova_lite.guest.machine import Machine
from nova_lite.guest.plan import plan_domain
from nova_lite.guest.properties import Properties
from nova_lite.inventory import numa
from nova_lite.model.domain import DomainSpec, NicSpec
from nova_lite.model.network import Vif
from nova_lite.model.server import BlockDevice, Server
from nova_lite.model.volume import ConnectedVolume
from nova_lite.services import abandoned, definable, tpm, volume_keys
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.notes import GuestNotes, PortNotes
from nova_lite.services.shares import guest_shares
from nova_lite.services.work import Work
from nova_lite.wire import decode, network_info
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


def mappings(work: Work) -> list[WireObject]:
    """The server's block device mappings with the changes of this operation: from the request at
    boot, from the database afterwards and after a restart. Abandoned ones are removed there."""
    with work.reading:
        if work.mappings is None:
            asked = None if work.resumed else work.arguments.get("block_device_mapping")
            if asked is None:
                found = work.tools.block_devices.of_server(work.context, work.uuid)
                work.mappings = abandoned.without_abandoned(work, found)
            else:
                work.mappings = list(asked.objects())
        return work.mappings


def block_devices(work: Work) -> tuple[BlockDevice, ...]:
    """The same in the model's terms."""
    return decode.block_devices(mappings(work))


def connected_volumes(work: Work) -> dict[str, ConnectedVolume]:
    """The volumes that are connected to this host, by their ids."""
    found = {}
    for device in block_devices(work):
        connection = device.connection
        if device.destination_type == "volume" and connection is not None:
            source = work.tools.volumes.of(connection).source(connection)
            secret = volume_keys.secret_uuid(work, connection)
            found[connection.volume_id] = ConnectedVolume(connection, source, secret)
    return found


def validate(work: Work) -> None:
    """Refuse what cannot be built, before anything is made."""
    refuse_certificates(work)
    checks.validate(work.server, swtpm=work.tools.policy.swtpm)
    checks.image_fits(work.server.flavor, work.root_image)
    require_definable(work)
    disk_plan(work)


def require_definable(work: Work) -> None:
    """Refuse a server with devices that this agent cannot give to its guest.

    :raises UnsupportedByHost: see ``services.definable``
    """
    swtpm = work.tools.policy.swtpm
    definable.refuse(work.server, work.instance, vifs(work), swtpm=swtpm)


def image_says(work: Work, name: str) -> bool:
    """Whether a property of the server's image is true; nonsense is not."""
    said = work.instance.get("system_metadata", {}).get(decode.IMAGE_KEY + name)
    try:
        return said is not None and values.boolean(said)
    except ValueError:
        return False


def has_config_drive(work: Work) -> bool:
    """Whether the server has a config drive: asked for, forced here, or the image needs one."""
    forced = bool(work.tools.conf.force_config_drive)
    launched = work.instance.get("launched_at") is not None
    return options.required(work.server, forced, launched=launched)


def disk_plan(work: Work) -> DiskPlan:
    """Names, buses and sizes of the server's disks."""
    return plan_disks(
        work.server,
        block_devices(work),
        machine=board(work, work.server),
        policy=work.tools.policy,
        config_drive=has_config_drive(work),
    )


def vifs(work: Work) -> list[Vif]:
    """The server's ports as this operation knows them, else as the network cache has them.

    A cache that cannot be read is a lost one: Neutron, the guest and the switch know better.
    """
    noted = PortNotes.of(work.notes).vifs
    if noted is not None:
        return network_info.load(noted)
    try:
        return network_info.cached(work.instance)
    except MalformedMessage as error:
        LOG.warning("The network cache of server %s is taken for empty: %s", work.uuid, error)
        return []


def nic_tags(work: Work) -> dict[str, str]:
    """MAC address -> tag of the server's tagged ports: of the request at boot, of the records
    afterwards."""
    noted = PortNotes.of(work.notes).nic_tags
    if noted is not None:
        return noted
    tagged = work.instance.get("device_metadata")
    devices = tagged["devices"] if tagged is not None else []
    return {
        device["mac"]: device["tags"][0]
        for device in devices
        if device.name == "NetworkInterfaceMetadata" and device.get("tags")
    }


def description(work: Work, ports: Iterable[Vif]) -> dict[str, object]:
    """What the guest's definition says of the server, with these ports."""
    server, tools = work.server, work.tools
    created = _created(server.created_at, tools.clock)
    return metadata.describe(server, ports, tools.policy, created)


def plugged_vifs(work: Work) -> list[Vif]:
    """The ports with as many queues as the guest will use: a tap has to be made with them."""
    queues = devices.nic_queues(work.server, work.tools.policy)
    return [replace(vif, queues=queues) for vif in vifs(work)]


def nic_of(work: Work, vif: Vif) -> NicSpec:
    """The guest's network card for a port, as a definition of the whole guest would have it."""
    server, policy = work.server, work.tools.policy
    queues = devices.nic_queues(server, policy)
    model = devices.nic_model(server, policy)
    nic = work.tools.vif_driver.nic(vif, model=model, queues=queues)
    return devices.finish_nic(nic, Properties(server), policy)


def wanted_guest(work: Work) -> tuple[DomainSpec, dict[str, str]]:
    """The guest, and the defaults chosen for it that must be kept for its later starts."""
    server, plan = work.server, disk_plan(work)
    registered = registered_details(server, plan, board(work, server), work.tools.policy)
    return plan_guest(work, server, plan), registered


def plan_guest(work: Work, server: Server, disks: DiskPlan) -> DomainSpec:
    """The guest of ``server`` (the operation's, or one that takes its place) with ``disks``."""
    tools, ports = work.tools, plugged_vifs(work)
    require_definable(work)
    model = devices.nic_model(server, tools.policy)
    topology = GuestNotes.of(work.notes).numa_topology or work.instance.get("numa_topology")
    volumes = connected_volumes(work)
    # A volume that is only being attached is plugged when that is done.
    present = (disk for disk in disks.disks if not _is_awaited(disk, volumes))
    disks = replace(disks, disks=tuple(present))
    return plan_domain(
        server,
        vifs=ports,
        nics=[tools.vif_driver.nic(vif, model=model, queues=vif.queues) for vif in ports],
        disks=disks,
        sources={
            disk.name: tools.disks.source(Path(tools.conf.instances_path) / server.uuid, disk.name)
            for disk in disks.local
            if disk.name
        },
        volumes=volumes,
        facts=tools.facts,
        capabilities=tools.capabilities,
        policy=tools.policy,
        numa=numa.guest_numa(topology, tools.facts) if topology else None,
        creation_time=_created(server.created_at, tools.clock),
        serial_ports=serial_ports(work, server),
        shares=guest_shares(work),
        tpm_secret=tpm.key_id(work),
    )


def serial_ports(work: Work, server: Server) -> tuple[int, ...]:
    """The TCP ports that the serial consoles of the guest of ``server`` have on this host."""
    count = consoles.serial_ports(Properties(server), work.tools.policy)
    return work.tools.serial_ports.of(server.uuid, count)


def _is_awaited(disk: PlannedDisk, volumes: Mapping[str, ConnectedVolume]) -> bool:
    return bool(disk.volume_id) and disk.volume_id not in volumes and disk.boot_index != 0


def board(work: Work, server: Server) -> Machine:
    """What the guest of ``server`` runs on."""
    tools = work.tools
    return machine.plan_machine(Properties(server), tools.policy, tools.facts, tools.capabilities)


def _created(text: str | None, clock: Clock) -> float:
    """Seconds since the epoch of the server's creation; now when it is unknown."""
    try:
        return datetime.datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return clock.time()


def dedicated_cpus(work: Work) -> list[int]:
    """The guest's vCPUs that have host CPUs of their own."""
    topology = GuestNotes.of(work.notes).numa_topology or work.instance.get("numa_topology")
    if not topology:
        return []
    cells = numa.parse(topology).cells
    return sorted(cpu for cell in cells for cpu in cell.pcpus)
