"""What this host reports of itself: the ComputeNode record and the resource provider."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.conductor.services import ComputeNodes
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DiskError
from nova_lite.guest.policy import cpu_set
from nova_lite.inventory import disk, node, numa_host, provider_config, traits
from nova_lite.inventory.claims import Claims
from nova_lite.inventory.disk import DiskSpace
from nova_lite.inventory.provider import Provider, ProviderState, host_state
from nova_lite.model.host import HostFacts
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)


class Capacity:
    """Reports what the host holds and how much of it is used, when it changes and only then.

    ``disk_room`` tells the bytes for disks altogether and the bytes free, where they are not those
    of the file system of instances_path.
    """

    def __init__(
        self,
        conf: Any,
        *,
        nodes: ComputeNodes,
        hypervisor: Hypervisor,
        claims: Claims,
        provider: Provider,
        disk_room: Callable[[], tuple[int, int] | None] = lambda: None,
        node_uuid: str,
        record: WireObject | None,
    ) -> None:
        self._conf = conf
        self._nodes = nodes
        self._hypervisor = hypervisor
        self._claims = claims
        self._provider = provider
        self._disk_room = disk_room
        self._node_uuid = node_uuid
        self._record = record
        self._lock = threading.Lock()
        self._traits: frozenset[str] | None = None
        self._space: DiskSpace | None = None

    @property
    def _reports_failures(self) -> bool:
        """Whether the scheduler is to avoid a host where builds fail."""
        return bool(self._conf.compute.consecutive_build_service_disable_threshold)

    @property
    def record(self) -> WireObject:
        """The ComputeNode record; made by the first :meth:`report`."""
        assert self._record is not None
        return self._record

    def report(self, service: WireObject) -> None:
        """Make or update the records of a host that joins."""
        facts = self._hypervisor.facts()
        self._claims.set_host(
            self._numa_cells(facts),
            pack=self._conf.compute.packing_host_numa_cells_allocation_strategy,
        )
        with self._lock:
            space = self._look()
            fields = self._fields(facts, space)
            if self._record is None:
                self._record = self._nodes.create(
                    RequestContext.admin(),
                    uuid=self._node_uuid,
                    service_id=service["id"],
                    **_on_the_wire(fields),
                )
            else:
                self._save(fields)
            self._provider.set_disabled(bool(service.get("disabled")))
            self._provider.sync(self._state(facts, space))

    def tick(self) -> None:
        """Report what differs from what was reported last."""
        facts = self._hypervisor.facts()
        with self._lock:
            space = self._look()
            self._save(self._fields(facts, space))
            self._provider.sync(self._state(facts, space))

    def _save(self, fields: Mapping[str, Any]) -> None:
        changed = node.changed(self.record.data, fields)
        if changed:
            self._nodes.save(RequestContext.admin(), self.record, **_on_the_wire(changed))

    def _look(self) -> DiskSpace:
        """Room for disks; as it was, while a storage elsewhere does not answer.

        :raises DiskError: it has never answered, or instances_path does not
        """
        try:
            room = self._disk_room()
        except DiskError as error:
            if self._space is None:
                raise
            LOG.warning("Room for disks is reported as it was: %s", error)
            return self._space
        self._space = disk.shared(*room) if room else disk.look(self._conf.instances_path)
        return self._space

    def _fields(self, facts: HostFacts, space: DiskSpace) -> dict[str, Any]:
        usage = self._claims.usage()
        shared, dedicated = self._cpus(facts)
        return node.fields(
            self._conf,
            facts,
            cpus=len(shared | dedicated),
            space=space,
            used=usage.used,
            servers=usage.servers,
            failed_builds=usage.failed_builds if self._reports_failures else 0,
            numa_topology=self._claims.numa_json(),
            uptime=node.read_uptime(),
        )

    def _state(self, facts: HostFacts, space: DiskSpace) -> ProviderState:
        shared, dedicated = self._cpus(facts)
        if self._traits is None:
            options = self._conf.libvirt
            cpu = traits.guest_cpu(
                facts.cpu, options.virt_type, options.cpu_mode, options.cpu_model_extra_flags
            )
            offered = self._hypervisor.capabilities().traits | traits.cpu_traits(cpu)
            excluded = traits.image_types(self._conf.compute.image_type_exclude_list)
            self._traits = offered - excluded
        state = host_state(
            self._conf,
            vcpus=len(shared),
            pcpus=len(dedicated),
            memory_mb=facts.memory_mb,
            disk_gb=space.total_gb,
            traits=self._traits,
            image_cache_gb=self._cached_gb(),
        )
        extra = provider_config.load(
            self._conf.compute.provider_config_location, self._node_uuid, facts.hostname
        )
        return provider_config.combine(state, extra)

    def _cached_gb(self) -> int:
        """GiB of the disk that cached images take, if nova.conf wants to have them reserved."""
        conf = self._conf
        if not conf.workarounds.reserve_disk_resource_for_image_cache:
            return 0
        return disk.cached_gb(conf.instances_path, conf.image_cache.subdirectory_name)

    def _cpus(self, facts: HostFacts) -> tuple[frozenset[int], frozenset[int]]:
        """Host CPUs for shared and for dedicated use.

        Dedicated CPUs that power management keeps offline come up when they are used.
        """
        options = self._conf.compute
        usable = facts.online_cpus
        if self._conf.libvirt.cpu_power_management:
            usable |= facts.present_cpus
        dedicated = cpu_set("cpu_dedicated_set", options.cpu_dedicated_set) or frozenset()
        shared = cpu_set("cpu_shared_set", options.cpu_shared_set)
        if shared is None:
            shared = facts.online_cpus if not dedicated else frozenset()
        return shared & facts.online_cpus, dedicated & usable

    def _numa_cells(self, facts: HostFacts) -> tuple[numa_host.HostCell, ...]:
        options = self._conf.compute
        return numa_host.host_cells(
            facts,
            shared=cpu_set("cpu_shared_set", options.cpu_shared_set),
            dedicated=cpu_set("cpu_dedicated_set", options.cpu_dedicated_set),
            reserved=numa_host.reserved_pages(self._conf.reserved_huge_pages or ()),
        )


def _on_the_wire(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in the form that the ComputeNode object carries."""
    result = dict(fields)
    if "supported_hv_specs" in result:
        result["supported_hv_specs"] = [
            WireObject.new("HVSpec", VERSIONS["HVSpec"], arch=arch, hv_type=kind, vm_mode=mode)
            for arch, kind, mode in result["supported_hv_specs"]
        ]
    if "pci_device_pools" in result:
        result["pci_device_pools"] = WireObject.new(
            "PciDevicePoolList", VERSIONS["PciDevicePoolList"], objects=[]
        )
    return result
