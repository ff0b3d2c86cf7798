"""shelve_offload_instance: remove a shelved server from its host; its snapshot is kept.

Resume rule: forward; every step may be repeated. A step that fails leaves the server SHELVED with a
fault: it can be offloaded again. Servers that boot from a volume are offloaded directly, without
having been SHELVED. Volumes stay reserved for the server.
"""

from __future__ import annotations

from nova_lite.errors import UnexpectedTaskState
from nova_lite.model.states import TaskState
from nova_lite.operations.base import HERE_OR_NOWHERE
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import PowerOff, RemoveGuest
from nova_lite.steps.network.binding import UnbindPorts, remember_ports
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.steps.records.shelving import DropAllocation, RecordOffloaded
from nova_lite.steps.volume.moves import ReserveVolumes


class ShelveOffload(PowerOperation):
    event = "compute_shelve_offload_instance"
    places = HERE_OR_NOWHERE  # it ends without a host
    notifies = "shelve_offload"
    notifies_mappings = True
    after_restart = {
        TaskState.SHELVING_OFFLOADING: AfterRestart(Settlement.REDO, {"clean_shutdown": False})
    }

    def load(self) -> None:
        super().load()
        work = self.work
        if not (work.resumed or work.here):
            raise UnexpectedTaskState(f"Server {work.uuid} is on another host by now, or on none")
        remember_ports(work)

    def plan(self) -> Plan:
        if self.work.resumed and has_left(self.work):
            return leaving(self.work)
        gracefully = bool(self.work.arguments.get("clean_shutdown", True))
        return [(PowerOff(self.work, gracefully=gracefully),), *leaving(self.work)]


def has_left(work: Work) -> bool:
    """Whether the record leads to another host, or to none: its ports, volumes and allocation may
    be those of another host by now."""
    return not work.here


def leaving(work: Work) -> Plan:
    """The stages that remove a server that is off from this host."""
    if work.resumed and has_left(work):
        return [
            (RemoveGuest(work),),
            (UnplugInterfaces(work),),
            (RemoveDisks(work),),
            (ReleaseResources(work),),
        ]
    return [
        (RemoveGuest(work), ForgetConsoles(work)),
        (UnplugInterfaces(work), UnbindPorts(work), ReserveVolumes(work)),
        # Up to here the server could be started again.
        (RemoveDisks(work), DropAllocation(work)),
        (RecordOffloaded(work),),
        (ReleaseResources(work),),
    ]
