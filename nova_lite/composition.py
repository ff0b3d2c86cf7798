"""The composition root: every long-lived object of the agent is built here and nowhere else.

``service.py`` says when: it starts, drains and stops what is built here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

from nova_lite.clients.cinder import Cinder
from nova_lite.clients.key_manager import KeyManager
from nova_lite.clients.manila import Manila
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.placement import Placement
from nova_lite.clients.session import Sessions
from nova_lite.clients.vendor_data import VendorServices
from nova_lite.clock import SYSTEM, USUAL, Clock, Pace
from nova_lite.conductor.actions import Actions
from nova_lite.conductor.client import Conductor
from nova_lite.conductor.groups import Groups
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.conductor.records import (
    BlockDevices,
    Builds,
    ConsoleTokens,
    InfoCaches,
    Interfaces,
    ShareMappings,
    TaskLogs,
    VolumeUsages,
)
from nova_lite.conductor.services import ComputeNodes, Services
from nova_lite.drivers import disk, loader
from nova_lite.drivers.disk.base import DiskBackend, RemoteFiles
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.image.base import ImageService
from nova_lite.drivers.metrics.base import Metrics
from nova_lite.drivers.share.base import Shares
from nova_lite.drivers.share.drivers import ShareDrivers
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.drivers.volume.base import HostProperties, Volumes
from nova_lite.drivers.volume.drivers import VolumeDrivers
from nova_lite.drivers.volume.host_connector import HostConnector
from nova_lite.engine.announcements import Announcements
from nova_lite.engine.engine import Engine, Observer
from nova_lite.engine.journal import Journal
from nova_lite.engine.late import Late
from nova_lite.engine.metrics import OperationMetrics
from nova_lite.engine.queues import Pool, ServerQueues
from nova_lite.engine.secrets import SecretFiles
from nova_lite.inventory.claims import Claims
from nova_lite.inventory.provider import Provider
from nova_lite.membership.capacity import Capacity
from nova_lite.membership.join import Membership
from nova_lite.model.host import HostFacts
from nova_lite.notifications.notifier import Notifier
from nova_lite.options import check, host_policy, hypervisor_name
from nova_lite.peers.client import Peers
from nova_lite.rpc import endpoint, transport
from nova_lite.scheduler.client import Scheduler
from nova_lite.services.events import EventHub
from nova_lite.services.image_cache import ImageCache
from nova_lite.services.port_resources import PortResources
from nova_lite.services.ports import Ports
from nova_lite.services.serial_ports import SerialPorts
from nova_lite.services.toolbox import Toolbox
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.outgoing import Outgoing

SHORT_WORKERS = 16  # verbs other than builds that run at once
UNLIMITED = 1000
CALLS_AT_ONCE = 2  # of one service by one worker: ports, and what they refer to
MOST_CONNECTIONS = 128  # kept to one service


class Parts(TypedDict, total=False):
    """The parts that something else may take the place of, by name."""

    clock: Clock
    pace: Pace
    boot_id: str
    observer: Observer
    hypervisor: Hypervisor
    transport: Any
    conductor: Conductor
    peers: Peers
    placement: Placement
    ports: Ports
    port_resources: PortResources
    cinder: Cinder
    manila: Manila
    image_store: ImageService
    keys: KeyManager
    vif_driver: VifDriver
    disks: DiskBackend
    remote_files: Callable[[str, str], RemoteFiles]
    volumes: Volumes
    shares: Shares
    connector: HostProperties
    metrics: tuple[Metrics, ...]


class Composition:
    """The agent of one host.

    A part is built when it is first asked for, by one thread: see ``prepare``.

    :param conf: the options of nova.conf
    :param replaced: parts to use in place of the real ones, which are not built then
    """

    def __init__(self, conf: Any, **replaced: Unpack[Parts]) -> None:
        """:raises InvalidConfiguration, JournalError: found before anybody is contacted"""
        if unknown := replaced.keys() - Parts.__annotations__.keys():
            raise TypeError(f"the agent has no replaceable parts {', '.join(sorted(unknown))}")
        self.conf = conf
        check(conf)
        # What is in the instance's dictionary comes before a cached_property of the class.
        self.__dict__.update(replaced)
        journal = Path(conf.state_path) / "nova-lite" / "journal"
        secrets = SecretFiles(Path(conf.nova_lite.runtime_path), journal)
        self.journal = Journal(journal, self.boot_id, secrets)
        self.journal.prepare()
        self.claims, self.outgoing = Claims(), Outgoing()
        self._provider: Provider | None = None

    # --- what a test may replace ------------------------------------------------------------
    clock: Clock = SYSTEM
    pace: Pace = USUAL
    observer: Observer | None = None
    boot_id: str | None = None

    @cached_property
    def hypervisor(self) -> Hypervisor:
        driver: Hypervisor = loader.load("hypervisor", hypervisor_name(self.conf), self.conf)
        return driver

    @cached_property
    def transport(self) -> Any:
        return transport.make(self.conf)

    @cached_property
    def conductor(self) -> Conductor:
        return Conductor(self.transport, self.outgoing)

    @cached_property
    def peers(self) -> Peers:
        return Peers(self.transport, self.conf, self.services, self.clock, self.outgoing)

    @cached_property
    def placement(self) -> Placement:
        return Placement(self.sessions.service("placement", "placement"))

    @cached_property
    def ports(self) -> Ports:
        return Ports(Neutron(self.sessions), self.conf, self.clock)

    @cached_property
    def port_resources(self) -> PortResources:
        return PortResources(Neutron(self.sessions), self.placement)

    @cached_property
    def cinder(self) -> Cinder:
        return Cinder(self.sessions, self.conf)

    @cached_property
    def manila(self) -> Manila:
        return Manila(self.sessions)

    @cached_property
    def image_store(self) -> ImageService:
        driver: ImageService = loader.load("image", "glance", self.conf.glance, self.sessions)
        return driver

    @cached_property
    def keys(self) -> KeyManager:
        return KeyManager(self.sessions, self.conf)

    @cached_property
    def vif_driver(self) -> VifDriver:
        """:raises InvalidConfiguration: two packages bring a driver for the same kind of ports"""
        drivers = VifDrivers(self.conf)
        drivers.load_added()
        return drivers

    @cached_property
    def disks(self) -> DiskBackend:
        return disk.from_conf(self.conf)

    @cached_property
    def remote_files(self) -> Callable[[str, str], RemoteFiles]:
        return disk.remote_files(self.conf, self.clock)

    @cached_property
    def volumes(self) -> Volumes:
        return VolumeDrivers(self.conf)

    @cached_property
    def shares(self) -> Shares:
        return ShareDrivers(self.conf)

    @cached_property
    def connector(self) -> HostProperties:
        return HostConnector(self.conf)

    @cached_property
    def metrics(self) -> tuple[Metrics, ...]:
        """:raises InvalidConfiguration: [nova_lite]metrics names a driver that is not there"""
        names = self.conf.nova_lite.metrics
        return tuple(loader.load("metrics", name, self.conf) for name in names)

    # --- what is made of them ---------------------------------------------------------------
    @cached_property
    def scheduler(self) -> Scheduler:
        return Scheduler(self.transport, self.conf.host)

    @cached_property
    def sessions(self) -> Sessions:
        workers = sum(pool.size for pool in self.pools.values())
        return Sessions(self.conf, min(MOST_CONNECTIONS, CALLS_AT_ONCE * workers))

    @cached_property
    def services(self) -> Services:
        return Services(self.conductor)

    @cached_property
    def nodes(self) -> ComputeNodes:
        return ComputeNodes(self.conductor)

    @cached_property
    def instances(self) -> Instances:
        return Instances(self.conductor)

    @cached_property
    def migrations(self) -> Migrations:
        return Migrations(self.conductor)

    @cached_property
    def notifier(self) -> Notifier:
        return Notifier.from_conf(self.conf, self.image_store.url)

    @cached_property
    def pools(self) -> Mapping[str, Pool]:
        """The groups of workers that run operations, by the names that verbs give."""
        sizes = {
            "builds": self.conf.max_concurrent_builds or UNLIMITED,
            "snapshots": self.conf.max_concurrent_snapshots or UNLIMITED,
            "migrations": UNLIMITED,  # Toolbox.turns has the limit
            "short": SHORT_WORKERS,
        }
        return {name: Pool(name, size) for name, size in sizes.items()}

    def prepare(self) -> None:
        """Build what a start needs, before threads share it.

        :raises InvalidConfiguration: no such driver, or a transport_url that cannot be read
        """
        parts = "transport conductor hypervisor disks sessions placement metrics vif_driver"
        for name in parts.split():
            getattr(self, name)

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
        node_uuid: str,
        node_id: int,
        usage_changed: Callable[[], None] = lambda: None,
    ) -> Toolbox:
        """What operations work with, as ``Toolbox`` describes it."""
        conf, conductor, now = self.conf, self.conductor, self.clock.monotonic
        return Toolbox(
            conf=conf,
            clock=self.clock,
            pace=self.pace,
            host=conf.host,
            node=facts.hostname,
            node_uuid=node_uuid,
            node_id=node_id,
            instances=self.instances,
            block_devices=BlockDevices(conductor),
            interfaces=Interfaces(conductor),
            info_caches=InfoCaches(conductor, now),
            console_tokens=ConsoleTokens(conductor, now, conf.consoleauth.token_ttl),
            actions=Actions(conductor, conf.host, self.clock),
            builds=Builds(conductor),
            groups=Groups(conductor),
            migrations=self.migrations,
            nodes=self.nodes,
            task_logs=TaskLogs(conductor),
            volume_usages=VolumeUsages(conductor),
            share_mappings=ShareMappings(conductor),
            peers=self.peers,
            placement=self.placement,
            cinder=self.cinder,
            manila=self.manila,
            hypervisor=self.hypervisor,
            facts=facts,
            capabilities=self.hypervisor.capabilities(),
            policy=host_policy(conf),
            vif_driver=self.vif_driver,
            ports=self.ports,
            port_resources=self.port_resources,
            images=ImageCache.from_conf(conf, self.image_store),
            image_store=self.image_store,
            disks=self.disks,
            remote_files=self.remote_files,
            volumes=self.volumes,
            shares=self.shares,
            connector=self.connector,
            keys=self.keys,
            vendor_services=VendorServices(self.sessions, conf),
            serial_ports=SerialPorts.from_conf(conf, self.hypervisor, self.clock),
            claims=self.claims,
            events=EventHub(self.clock),
            usage_changed=usage_changed,
            set_disabled=self._set_disabled,
            notifier=self.notifier,
        )

    def _set_disabled(self, disabled: bool) -> None:
        if self._provider is not None:
            self._provider.set_disabled(disabled)

    def engine(self, tools: Toolbox) -> Engine:
        """What runs operations with these tools."""

        def make_work(context: RequestContext, arguments: Mapping[str, Any], entry: Any) -> Work:
            return Work(context, tools, arguments["instance"], arguments, entry.notes, entry.note)

        engine = Engine(
            self.journal,
            ServerQueues(dict(self.pools)),
            endpoint.VERBS,
            make_work,
            finish_event=tools.actions.finish,
            start_event=tools.actions.start,
            observer=self.observer,
            announcements=Announcements(tools.notifier),
            clock=self.clock,
            pace=self.pace,
            late=Late(tools.ownership),
        )
        tools.signal = engine.signal
        if self.metrics:
            engine.bus.subscribe(OperationMetrics(self.metrics).heard)
        return engine

    # --- later ------------------------------------------------------------------------------
    def forget(self) -> None:
        """Believe nothing remembered of Placement and Keystone."""
        self.sessions.reset()
        if self._provider is not None:
            self._provider.forget()

    def close(self) -> None:
        """Disconnect; guests keep running."""
        made = self.__dict__
        if "hypervisor" in made:
            self.hypervisor.close()
        if "notifier" in made:
            self.notifier.close()
        for driver in made.get("metrics", ()):
            driver.close()
        if "transport" in made:
            self.transport.cleanup()
