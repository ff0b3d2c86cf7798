"""From an operation's server to the guest that the hypervisor is asked for."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace

from nova_lite.configdrive import options
from nova_lite.errors import DeviceTaggingUnsupported
from nova_lite.guest import checks, devices, machine
from nova_lite.guest.defaults import registered_details
from nova_lite.guest.disks import DiskPlan, plan_disks
from nova_lite.guest.machine import Machine
from nova_lite.guest.plan import plan_domain
from nova_lite.guest.properties import Properties
from nova_lite.inventory import numa
from nova_lite.model.domain import DomainSpec
from nova_lite.model.network import Vif
from nova_lite.model.server import BlockDevice
from nova_lite.steps.base import Work
from nova_lite.wire import decode, network_info


def block_devices(work: Work) -> tuple[BlockDevice, ...]:
    """The block device mapping: of the request at boot, of the records afterwards."""
    mappings = work.arguments.get("block_device_mapping")
    if mappings is None:
        if work.mappings is None:
            work.mappings = work.tools.block_devices.of_server(work.context, work.uuid)
        return decode.block_devices(work.mappings)
    return decode.block_devices(mappings.objects())


def validate(work: Work) -> None:
    """Refuse what cannot be built, before anything is made."""
    checks.validate(work.server)
    refuse_tags(work)
    disk_plan(work)


def refuse_tags(work: Work) -> None:
    """Refuse device tags: the guest could not find its devices by them.

    :raises DeviceTaggingUnsupported: a block device or a port of the request has a tag
    """
    networks = work.arguments["requested_networks"].objects()
    if any(device.tag for device in block_devices(work)) or any(n.get("tag") for n in networks):
        raise DeviceTaggingUnsupported(
            "Attempt to boot guest with tagged devices on host that does not support tagging."
        )


def has_config_drive(work: Work) -> bool:
    """Whether the server has a config drive: asked for, forced here, or the image needs one."""
    return options.required(work.server, bool(work.tools.conf.force_config_drive))


def disk_plan(work: Work) -> DiskPlan:
    """Names, buses and sizes of the server's disks."""
    return plan_disks(
        work.server,
        block_devices(work),
        machine=_machine(work),
        policy=work.tools.policy,
        config_drive=has_config_drive(work),
    )


def vifs(work: Work) -> list[Vif]:
    """The server's ports as this operation knows them, else as the network cache has them."""
    noted = work.notes.get("vifs")
    if noted is None:
        cache = work.instance.get("info_cache")
        noted = cache.get("network_info", "[]") if cache else "[]"
    return network_info.load(noted)


def plugged_vifs(work: Work) -> list[Vif]:
    """The ports with as many queues as the guest will use: a tap has to be made with them."""
    queues = devices.nic_queues(work.server, work.tools.policy)
    return [replace(vif, queues=queues) for vif in vifs(work)]


def wanted_guest(work: Work) -> tuple[DomainSpec, dict[str, str]]:
    """The guest, and the defaults chosen for it that must be kept for its later starts."""
    tools, server, ports = work.tools, work.server, plugged_vifs(work)
    plan = disk_plan(work)
    model = devices.nic_model(server, tools.policy)
    topology = work.notes.get("numa_topology") or work.instance.get("numa_topology")
    spec = plan_domain(
        server,
        vifs=ports,
        nics=[tools.vif_driver.nic(vif, model=model, queues=vif.queues) for vif in ports],
        disks=plan,
        facts=tools.facts,
        capabilities=tools.capabilities,
        policy=tools.policy,
        numa=numa.guest_numa(topology, tools.facts) if topology else None,
        creation_time=_created(server.created_at),
    )
    return spec, registered_details(server, plan, _machine(work), tools.policy)


def _machine(work: Work) -> Machine:
    tools = work.tools
    return machine.plan_machine(
        Properties(work.server), tools.policy, tools.facts, tools.capabilities
    )


def _created(text: str | None) -> float:
    """Seconds since the epoch of the server's creation; now when it is unknown."""
    try:
        return datetime.datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return time.time()


def dedicated_cpus(work: Work) -> list[int]:
    """The guest's vCPUs that have host CPUs of their own."""
    topology = work.notes.get("numa_topology") or work.instance.get("numa_topology")
    if not topology:
        return []
    cells = numa.parse(topology).cells
    return sorted(cpu for cell in cells for cpu in cell.pcpus)
