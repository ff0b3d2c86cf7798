"""Joining the cloud: records of this host, checked against what it really is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_lite.conductor.instances import Instances
from nova_lite.conductor.services import ComputeNodes, Services
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import HostIdentityError
from nova_lite.membership import identity, version
from nova_lite.model.host import HostFacts
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Since this version a host with a Service record must have its compute_id file.
FILE_REQUIRED_SINCE = 65


@dataclass
class Membership:
    """What was found: this host's uuid, its Service record (None: new host), its ComputeNode record
    (None: new), the version to report, the lowest of all compute hosts of the cell (0: there are
    none), that of the oldest nova-conductor (None: unknown), and the servers that the cloud says
    run here."""

    node_uuid: str
    service: WireObject | None
    node: WireObject | None
    version: int
    floor: int
    conductor: int | None
    instances: list[WireObject]


class Joining:
    def __init__(
        self,
        conf: Any,
        services: Services,
        nodes: ComputeNodes,
        instances: Instances,
        hypervisor: Hypervisor,
    ) -> None:
        self._conf = conf
        self._services = services
        self._nodes = nodes
        self._instances = instances
        self._hypervisor = hypervisor

    def look(self, facts: HostFacts) -> Membership:
        """Find out what the cloud knows of this host and refuse what does not fit.

        :raises HostIdentityError: wrong or lost compute_id, renamed host, foreign guests
        :raises ServiceTooOld: the cell is newer than this agent
        """
        context, host = RequestContext.admin(), self._conf.host
        conductors = self._services.conductor_versions(context)
        floor = self._services.minimum_version(context)
        reported = version.choose(
            self._conf.nova_lite.service_version, max(conductors, default=None), floor
        )
        service = self._services.of_host(context, host)
        node_uuid = identity.read(self._directories())
        if service is None:
            self._refuse_foreign_guests()
        elif node_uuid is None:
            node_uuid = self._adopt(context, host, service)
        if node_uuid is None:
            node_uuid = identity.new()
            identity.write(Path(self._conf.state_path), node_uuid)
            LOG.info("This host is new; its compute_id is %s", node_uuid)
        node = self._nodes.by_uuid(context, node_uuid)
        if node is not None:
            self._refuse_renamed(node, facts)
        instances = self._instances.by_host(context, host) if service is not None else []
        oldest = min(conductors, default=None)
        return Membership(node_uuid, service, node, reported, floor, oldest, instances)

    def report_service(self, membership: Membership) -> WireObject:
        """Make or update the Service record."""
        context = RequestContext.admin()
        if membership.service is None:
            membership.service = self._services.create(
                context, self._conf.host, membership.version
            )
        elif membership.service.get("version") != membership.version:
            self._services.save(context, membership.service, version=membership.version)
        return membership.service

    def _directories(self) -> list[Path]:
        config_files = [Path(name).parent for name in self._conf.config_file or ()]
        return list(dict.fromkeys([*config_files, Path(self._conf.state_path)]))

    def _refuse_foreign_guests(self) -> None:
        foreign = [domain.name for domain in self._hypervisor.domains()]
        if foreign:
            raise HostIdentityError(
                f"host {self._conf.host!r} is new to the cloud, but its hypervisor has guests "
                f"already ({', '.join(foreign[:5])}); was [DEFAULT]host changed? Set it back, or "
                "remove the guests"
            )

    def _adopt(self, context: RequestContext, host: str, service: WireObject) -> str:
        """A host that ran an old nova-compute: take the uuid of its only ComputeNode record."""
        known = int(service.get("version", 0))
        nodes = self._nodes.of_host(context, host)
        if known >= FILE_REQUIRED_SINCE or len(nodes) != 1:
            raise HostIdentityError(
                f"host {host!r} is known to the cloud, but its {identity.FILE_NAME} file is lost; "
                f"write its uuid ({', '.join(str(node['uuid']) for node in nodes) or 'unknown'}) "
                f"to {Path(self._conf.state_path) / identity.FILE_NAME}"
            )
        node_uuid = str(nodes[0]["uuid"])
        identity.write(Path(self._conf.state_path), node_uuid)
        return node_uuid

    def _refuse_renamed(self, node: WireObject, facts: HostFacts) -> None:
        if node["host"] != self._conf.host:
            raise HostIdentityError(
                f"compute_id {node['uuid']} belongs to host {node['host']!r}, but [DEFAULT]host is "
                f"{self._conf.host!r}; set it back"
            )
        if node["hypervisor_hostname"] != facts.hostname:
            raise HostIdentityError(
                f"compute_id {node['uuid']} belongs to the hypervisor "
                f"{node['hypervisor_hostname']!r}, but libvirt says {facts.hostname!r}; give the "
                "machine its name back"
            )
