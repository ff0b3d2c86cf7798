"""Interfaces on this host's switch of servers that are not here (any more).

The switch may have been dead while a server was deleted or offloaded, or another agent may have
left them. Open vSwitch keeps the server of each port that os-vif has made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from nova_lite.conductor.instances import Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError, ServerNotFound, SwitchUnavailable
from nova_lite.model.network import Vif
from nova_lite.services.ownership import Place, standing
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

INTERVAL_S = 600.0  # seconds between two looks
FIRST_S = 60.0  # seconds after the start until the first look: what was resumed cleans up itself


class StrayInterfaces:
    """Compares the switch with the guests, and what has no guest with the Instance records."""

    def __init__(
        self,
        host: str,
        instances: Instances,
        migrations: Migrations,
        hypervisor: Hypervisor,
        vif_driver: VifDriver,
        engine: Engine,
    ) -> None:
        self._host = host
        self._instances = instances
        self._migrations = migrations
        self._hypervisor = hypervisor
        self._vif_driver = vif_driver
        self._engine = engine
        self._unknown: set[str] = set()

    def tick(self) -> None:
        """Look at all once; what a server is busy with comes first.

        :raises HypervisorUnavailable: guests cannot be listed
        """
        try:
            found = self._vif_driver.plugged_vifs()
        except SwitchUnavailable as error:
            LOG.debug("Stray interfaces are looked for later: %s", error)
            return
        if not found:
            return
        guests = {domain.uuid for domain in self._hypervisor.domains()}
        for uuid in sorted(found.keys() - guests):
            self._engine.after(uuid, f"interfaces of server {uuid}", partial(self._look, uuid))

    def _look(self, uuid: str) -> None:
        """In the server's turn: nothing else is done with it on this host meanwhile."""
        try:
            if self._hypervisor.defined(uuid) or not self._is_stray(uuid):
                return
            self._unplug(uuid, self._vif_driver.plugged_vifs(uuid).get(uuid, []))
        except NovaLiteError as error:
            LOG.warning("Interfaces of server %s are looked at later: %s", uuid, error)

    def _is_stray(self, uuid: str) -> bool:
        """Whether the server was deleted, or is not on this host and not on its way to it."""
        context = RequestContext.admin().elevated(read_deleted=True)
        try:
            instance = self._instances.get(context, uuid, ())
        except ServerNotFound:
            if uuid not in self._unknown:
                # Containers and the like may be plugged into the same switch.
                LOG.info("The switch has interfaces of %s, which is no server of this cloud; "
                         "they are left alone", uuid)  # fmt: skip
                self._unknown.add(uuid)
            return False
        if instance.get("deleted"):
            return True
        migration = self._migrations.open_of_server(context, uuid)
        if migration is not None:
            return False
        found = standing(instance, self._host)
        return found.place is not Place.HERE

    def _unplug(self, uuid: str, vifs: Sequence[Vif]) -> None:
        for vif in vifs:
            LOG.warning("Interface %s of server %s is left on this host, but the server is not: "
                        "unplugging it", vif.devname, uuid)  # fmt: skip
            self._vif_driver.unplug(vif, server_uuid=uuid, server_name="", project_id="")
