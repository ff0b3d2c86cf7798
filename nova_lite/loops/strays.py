"""Guests whose server was deleted, or left this host, while no agent looked.

When a host is down, the API deletes the records of its servers alone, and its servers may be
evacuated. What is left of them here is found by their guests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from nova_lite.conductor.instances import Instances
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.engine.engine import Engine
from nova_lite.errors import DomainNotFound, NovaLiteError, ServerNotFound
from nova_lite.loops.overdue import older
from nova_lite.services.ownership import Place, place
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Strays:
    """``action`` is [DEFAULT]running_deleted_instance_action: what to do with such a guest.

    ``age`` is running_deleted_instance_timeout: the seconds for which a server has to be deleted.
    """

    def __init__(
        self,
        host: str,
        action: str,
        instances: Instances,
        hypervisor: Hypervisor,
        engine: Engine,
        evacuated: Callable[[], Collection[str]] = tuple,
        age: int = 0,
        kept: Callable[[str], bool] = lambda uuid: False,
        moving: Callable[[str], bool] = lambda uuid: False,
    ) -> None:
        """
        :param evacuated: begins to remove evacuated servers, and tells which those are
        :param kept: whether files of a server are kept for the revert of a resize
        :param moving: whether a migration of a server is not over: its guest may be on its way here
        """
        self._moving = moving
        self._kept = kept
        self._age = age
        self._host = host
        self._evacuated = evacuated
        self._reported: set[str] = set()
        self._action = action
        self._instances = instances
        self._hypervisor = hypervisor
        self._engine = engine

    def tick(self) -> None:
        """Deal with the guests of deleted servers; in running_deleted_instance_poll_interval.

        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        """
        guests = [domain.uuid for domain in self._hypervisor.domains()]
        if not guests:
            return
        here = self._instances.by_host(RequestContext.admin(), self._host, ())
        known = {str(instance["uuid"]) for instance in here}
        for uuid in guests:
            if uuid not in known:
                self.look_at(uuid, deleted=True)

    def look_at(self, uuid: str, *, deleted: bool = False) -> None:
        """Deal with a guest without a server on this host; one without any Instance record is kept.

        One whose server is busy (with an event of a port that was deleted with it, say) is looked
        at when that is over.

        :param deleted: also if its server was deleted, which is what ``tick`` looks for
        :raises ControlPlaneUnavailable: the conductor cannot be asked now
        """
        if self._engine.busy(uuid):
            self._engine.after(
                uuid, "a guest without server", lambda: self._look_again(uuid, deleted)
            )
        else:
            self._look(uuid, deleted)

    def _look_again(self, uuid: str, deleted: bool) -> None:
        try:
            self._hypervisor.power_state(uuid)
            self._look(uuid, deleted)
        except DomainNotFound:
            return  # what its server was busy with has removed it
        except NovaLiteError as error:
            LOG.warning("Guest %s is looked at later: %s", uuid, error)

    def _look(self, uuid: str, deleted: bool) -> None:
        context = RequestContext.admin().elevated(read_deleted=True)
        instance = self._find(context, uuid)
        if instance is None:
            return
        if place(instance, self._host) is Place.ELSEWHERE:
            self._foreign(instance)
        elif deleted and instance.get("deleted") and self._is_old(instance):
            self._deleted(context, instance)

    def _is_old(self, instance: WireObject) -> bool:
        deleted_at = instance.get("deleted_at")
        return not deleted_at or older(deleted_at, self._age)

    def _foreign(self, instance: WireObject) -> None:
        """A guest of another host's server: removed if that was evacuated, else left alone.

        It may have been resized or migrated, and what is here belong to that. Stock leaves it, too.
        """
        uuid = str(instance["uuid"])
        if self._kept(uuid) or uuid in self._reported or uuid in self._evacuated():
            return
        if self._moving(uuid):
            return
        self._reported.add(uuid)
        LOG.warning("A guest of server %s is here, but the server is on host %s and was not "
                    "evacuated from here. It is left alone; if that host has its guest and no "
                    "migration of it is open, remove this one with virsh undefine",
                    uuid, instance["host"])  # fmt: skip

    def _deleted(self, context: RequestContext, instance: WireObject) -> None:
        uuid = str(instance["uuid"])
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
        instance = self._find(context, uuid)
        if instance is None or not instance.get("deleted"):
            return False
        if place(instance, self._host) is Place.ELSEWHERE:
            return False
        self._reap(context, instance)
        return True

    def _find(self, context: RequestContext, uuid: str) -> WireObject | None:
        try:
            return self._instances.get(context, uuid, ("flavor", "info_cache"))
        except ServerNotFound:
            return None

    def _reap(self, context: RequestContext, instance: WireObject) -> None:
        """Delete what is left, as if the delete had arrived here."""
        # It reads the block device mapping itself, with what was deleted of it.
        self._engine.begin(
            "terminate_instance", context, str(instance["uuid"]), {"instance": instance}
        )
