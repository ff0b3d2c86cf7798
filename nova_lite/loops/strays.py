"""Guests whose server was deleted while no agent looked, as when the host was down.

The API then deletes the server's records alone. What is left of it here is found by its guest.
"""

from __future__ import annotations

import logging

from nova_lite.conductor.instances import Instances
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.engine.engine import Engine
from nova_lite.errors import ServerNotFound
from nova_lite.services.ownership import Place, place
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Strays:
    """``action`` is [DEFAULT]running_deleted_instance_action: what to do with such a guest."""

    def __init__(
        self,
        host: str,
        action: str,
        instances: Instances,
        hypervisor: Hypervisor,
        engine: Engine,
    ) -> None:
        self._host = host
        self._action = action
        self._instances = instances
        self._hypervisor = hypervisor
        self._engine = engine

    def look_at(self, uuid: str) -> None:
        """Deal with a guest that is no server of this host; one the cloud never knew is left alone.

        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        """
        if self._action == "noop" or self._engine.busy(uuid):
            return
        context = RequestContext.admin().elevated(read_deleted=True)
        instance = self._deleted_here(context, uuid)
        if instance is None:
            return
        LOG.warning("Guest of server %s is still here, but the server was deleted: %s",
                    uuid, self._action)  # fmt: skip
        if self._action == "shutdown":
            self._hypervisor.destroy(uuid)
        elif self._action == "reap":
            self._reap(context, instance)

    def reap_deleted(self, uuid: str) -> bool:
        """Remove what is left of a server; False when it is none that was deleted on this host.

        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        """
        context = RequestContext.admin().elevated(read_deleted=True)
        instance = self._deleted_here(context, uuid)
        if instance is None:
            return False
        self._reap(context, instance)
        return True

    def _deleted_here(self, context: RequestContext, uuid: str) -> WireObject | None:
        try:
            instance = self._instances.get(context, uuid, ("flavor", "info_cache"))
        except ServerNotFound:
            return None
        elsewhere = place(instance, self._host) is Place.ELSEWHERE
        return instance if instance.get("deleted") and not elsewhere else None

    def _reap(self, context: RequestContext, instance: WireObject) -> None:
        """Delete what is left, as if the delete had arrived here."""
        # It reads the block device mapping itself, with what was deleted of it.
        self._engine.begin(
            "terminate_instance", context, str(instance["uuid"]), {"instance": instance}
        )
