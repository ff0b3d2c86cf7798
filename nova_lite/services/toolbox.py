"""The collaborators of steps and handlers, built once by ``composition.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova_lite.clients.cinder import Cinder
from nova_lite.clients.key_manager import KeyManager
from nova_lite.clients.manila import Manila
from nova_lite.clients.placement import Placement
from nova_lite.clients.vendor_data import VendorServices
from nova_lite.clock import Clock, Pace
from nova_lite.conductor.actions import Actions
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
from nova_lite.conductor.services import ComputeNodes
from nova_lite.drivers.disk.base import DiskBackend, RemoteFiles
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.image.base import ImageStore
from nova_lite.drivers.share.base import Shares
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.volume.base import HostProperties, Volumes
from nova_lite.guest.policy import HostPolicy
from nova_lite.inventory.claims import Claims
from nova_lite.model.host import Capabilities, HostFacts
from nova_lite.notifications.notifier import Notifier
from nova_lite.peers.client import Peers
from nova_lite.services.events import EventHub
from nova_lite.services.guest_events import GuestEvents
from nova_lite.services.image_cache import ImageCache
from nova_lite.services.link_speeds import LinkSpeeds
from nova_lite.services.ownership import Ownership
from nova_lite.services.port_resources import PortResources
from nova_lite.services.ports import Ports
from nova_lite.services.serial_ports import SerialPorts
from nova_lite.services.turns import Turns

if TYPE_CHECKING:
    from nova_lite.services.work import Signal


@dataclass
class Toolbox:
    """The collaborators of every operation.

    ``host`` is nova.conf's host, ``node`` the hypervisor's host name, ``node_uuid`` the compute_id,
    ``node_id`` the row id of the ComputeNode record. ``usage_changed`` asks the inventory loop to
    report soon, ``remote_files`` reaches the files of another host by its address and its name,
    ``set_disabled`` tells Placement that the host may not be scheduled to,
    ``signal`` tells the open operations of a server something (``Engine.signal``), ``turns`` is the
    queue of live migrations, and ``guest_events`` tells how they go on,
    ``links`` how fast they were,
    ``ownership`` says whose a server is.
    """

    conf: Any
    clock: Clock
    pace: Pace
    host: str
    node: str
    node_uuid: str
    node_id: int
    instances: Instances
    block_devices: BlockDevices
    interfaces: Interfaces
    info_caches: InfoCaches
    console_tokens: ConsoleTokens
    actions: Actions
    builds: Builds
    groups: Groups
    nodes: ComputeNodes
    migrations: Migrations
    task_logs: TaskLogs
    volume_usages: VolumeUsages
    share_mappings: ShareMappings
    peers: Peers
    placement: Placement
    cinder: Cinder
    manila: Manila
    hypervisor: Hypervisor
    facts: HostFacts
    capabilities: Capabilities
    policy: HostPolicy
    vif_driver: VifDriver
    ports: Ports
    port_resources: PortResources
    images: ImageCache
    image_store: ImageStore
    disks: DiskBackend
    remote_files: Callable[[str, str], RemoteFiles]
    volumes: Volumes
    shares: Shares
    connector: HostProperties
    keys: KeyManager
    vendor_services: VendorServices
    serial_ports: SerialPorts
    claims: Claims
    events: EventHub
    usage_changed: Callable[[], None]
    set_disabled: Callable[[bool], None]
    notifier: Notifier = field(default_factory=Notifier)
    signal: Callable[[str, Signal, str | None], bool] = lambda uuid, signal, method: False
    ownership: Ownership = field(init=False)
    turns: Turns = field(init=False)
    guest_events: GuestEvents = field(init=False)
    links: LinkSpeeds = field(init=False)

    def __post_init__(self) -> None:
        self.ownership = Ownership(self.host, self.instances, self.migrations)
        self.turns = Turns(self.conf.max_concurrent_live_migrations)
        self.guest_events = GuestEvents(self.clock)
        self.links = LinkSpeeds(
            Path(self.conf.state_path) / "nova-lite" / "links.json", self.clock
        )
        self.hypervisor.subscribe(self.guest_events.heard)
