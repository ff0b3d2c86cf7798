"""The parts that the agent is made of, built from the configuration; see also ``service``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova_lite.clients.cinder import Cinder
from nova_lite.clients.key_manager import KeyManager
from nova_lite.clients.manila import Manila
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.placement import Placement
from nova_lite.clients.session import Sessions
from nova_lite.conductor.actions import Actions
from nova_lite.conductor.client import Conductor
from nova_lite.conductor.groups import Groups
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.records import (
    BlockDevices,
    Builds,
    ConsoleTokens,
    InfoCaches,
    Interfaces,
    Migrations,
    ShareMappings,
    TaskLogs,
    VolumeUsages,
)
from nova_lite.conductor.services import ComputeNodes, Services
from nova_lite.drivers import disk, loader
from nova_lite.drivers.disk import direct_io
from nova_lite.drivers.share.drivers import ShareDrivers
from nova_lite.drivers.volume.drivers import VolumeDrivers
from nova_lite.drivers.volume.host_connector import HostConnector
from nova_lite.engine.journal import Journal
from nova_lite.errors import InvalidConfiguration
from nova_lite.guest.policy import HostPolicy, cpu_set
from nova_lite.inventory.claims import Claims
from nova_lite.inventory.numa_host import reserved_pages
from nova_lite.inventory.provider import Provider
from nova_lite.membership.capacity import Capacity
from nova_lite.membership.join import Membership
from nova_lite.model.host import HostFacts
from nova_lite.notifications import periods
from nova_lite.notifications.notifier import Notifier
from nova_lite.rpc import transport
from nova_lite.services.events import EventHub
from nova_lite.services.image_cache import ImageCache
from nova_lite.services.ports import Ports
from nova_lite.services.serial_ports import SerialPorts, port_range
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

# nova.conf's compute_driver -> our hypervisor driver.
HYPERVISORS = {"libvirt.LibvirtDriver": "libvirt", "libvirt": "libvirt"}


class Parts:
    """Everything that lives as long as the agent and can be built before the host is known."""

    def __init__(self, conf: Any) -> None:
        """:raises InvalidConfiguration, JournalError: found before anybody is contacted"""
        self.conf = conf
        check(conf)
        self.disks = disk.from_conf(conf)
        self.journal = Journal(Path(conf.state_path) / "nova-lite" / "journal")
        self.journal.prepare()
        self.transport = transport.make(conf)
        self.conductor = Conductor(self.transport)
        self.services = Services(self.conductor)
        self.nodes = ComputeNodes(self.conductor)
        self.instances = Instances(self.conductor)
        self.migrations = Migrations(self.conductor)
        self.actions = Actions(self.conductor, conf.host)
        self.sessions = Sessions(conf)
        self.placement = Placement(self.sessions.service("placement", "placement"))
        self.hypervisor = loader.load("hypervisor", _hypervisor_name(conf), conf)
        self.notifier = Notifier()
        self.claims = Claims()
        self._provider: Provider | None = None

    def warm_up(self) -> None:
        """Fetch a token, while other parts of the start-up wait for something else.

        :raises ControlPlaneUnavailable, CredentialsInvalid, PlacementError: of [placement]
        """
        self.placement.known_traits(["COMPUTE_NODE"])

    def capacity(self, facts: HostFacts, membership: Membership) -> Capacity:
        """What this host reports."""
        conf = self.conf
        self._provider = Provider(
            self.placement,
            membership.node_uuid,
            facts.hostname,
            conf.compute.resource_provider_association_refresh,
            is_member=lambda: self.nodes.by_uuid(RequestContext.admin(), membership.node_uuid)
            is not None,
        )
        return Capacity(
            conf,
            nodes=self.nodes,
            hypervisor=self.hypervisor,
            claims=self.claims,
            provider=self._provider,
            node_uuid=membership.node_uuid,
            record=membership.node,
            disk_room=self.disks.room,
        )

    def toolbox(
        self,
        facts: HostFacts,
        membership: Membership,
        capacity: Capacity,
        usage_changed: Callable[[], None],
    ) -> Toolbox:
        """What operations work with."""
        conf = self.conf
        images = loader.load("image", "glance", conf.glance, self.sessions)
        assert self._provider is not None
        return Toolbox(
            conf=conf,
            host=conf.host,
            node=facts.hostname,
            node_uuid=membership.node_uuid,
            node_id=int(capacity.record["id"]),
            instances=self.instances,
            block_devices=BlockDevices(self.conductor),
            interfaces=Interfaces(self.conductor),
            info_caches=InfoCaches(self.conductor),
            console_tokens=ConsoleTokens(self.conductor),
            actions=self.actions,
            builds=Builds(self.conductor),
            groups=Groups(self.conductor),
            migrations=self.migrations,
            task_logs=TaskLogs(self.conductor),
            volume_usages=VolumeUsages(self.conductor),
            share_mappings=ShareMappings(self.conductor),
            placement=self.placement,
            cinder=Cinder(self.sessions, conf),
            manila=Manila(self.sessions),
            hypervisor=self.hypervisor,
            facts=facts,
            capabilities=self.hypervisor.capabilities(),
            policy=host_policy(conf),
            vif_driver=loader.load("vif", "os_vif", conf),
            ports=Ports(Neutron(self.sessions), conf),
            images=ImageCache.from_conf(conf, images),
            image_store=images,
            disks=self.disks,
            volumes=VolumeDrivers(conf),
            shares=ShareDrivers(conf),
            connector=HostConnector(conf),
            keys=KeyManager(self.sessions, conf),
            serial_ports=SerialPorts.from_conf(conf, self.hypervisor),
            claims=self.claims,
            events=EventHub(),
            usage_changed=usage_changed,
            set_disabled=self._provider.set_disabled,
            notifier=self._notify_with(images.url),
        )

    def _notify_with(self, image_url: Callable[[RequestContext, str], str]) -> Notifier:
        self.notifier = Notifier.from_conf(self.conf, image_url)
        return self.notifier

    def forget(self) -> None:
        """Believe nothing remembered of Placement and Keystone."""
        self.sessions.reset()
        if self._provider is not None:
            self._provider.forget()

    def close(self) -> None:
        """Disconnect; guests keep running."""
        self.hypervisor.close()
        self.notifier.close()
        self.transport.cleanup()


def check(conf: Any) -> None:
    """Options whose values say more than their types.

    :raises InvalidConfiguration: names the option
    """
    disk.from_conf(conf)
    for name in ("cpu_shared_set", "cpu_dedicated_set"):
        cpu_set(name, conf.compute[name])
    reserved_pages(conf.reserved_huge_pages or ())
    periods.parse(conf.instance_usage_audit_period)
    port_range(conf.serial_console.port_range)


def host_policy(conf: Any) -> HostPolicy:
    """What nova.conf says about guests, with what it leaves to the machine."""
    from importlib import metadata

    return HostPolicy.from_conf(
        conf,
        direct_io=direct_io.supported(Path(conf.instances_path)),
        machine_id=_first_line("/etc/machine-id"),
        hardware_id=_first_line("/sys/class/dmi/id/product_uuid"),
        package_version=metadata.version("nova-lite"),
    )


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _hypervisor_name(conf: Any) -> str:
    name = HYPERVISORS.get(conf.compute_driver, conf.compute_driver)
    if "." in name:
        raise InvalidConfiguration(
            f"[DEFAULT]compute_driver is {name!r}; nova_lite drives libvirt: use "
            "libvirt.LibvirtDriver, or the name of an installed nova_lite.hypervisor driver"
        )
    return str(name)
