"""shelve_offload_instance: a shelved server leaves its host; its snapshot is all that it needs.

Resume rule: forward; each step leaves less of the server here, and doing it again is harmless. A
step that cannot finish leaves the server SHELVED with a fault: it can be offloaded again. Servers
that boot from a volume come here at once, without having been SHELVED. Volumes stay reserved for
the server.
"""

from __future__ import annotations

from nova_lite.errors import UnexpectedTaskState
from nova_lite.model.states import TaskState
from nova_lite.operations.base import HERE_OR_NOWHERE
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.services.ownership import is_here
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import PowerOff, RemoveGuest
from nova_lite.steps.network.binding import UnbindPorts, remember_ports
from nova_lite.steps.network.ports import UnplugInterfaces
from nova_lite.steps.records.capacity import ReleaseResources
from nova_lite.steps.records.server import ForgetConsoles
from nova_lite.steps.records.shelving import DropAllocation, RecordOffloaded
from nova_lite.steps.volume.moves import GiveVolumesBack


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
        if not (work.resumed or is_here(work)):
            raise UnexpectedTaskState(f"Server {work.uuid} is on another host by now, or on none")
        remember_ports(work)

    def plan(self) -> Plan:
        gracefully = bool(self.work.arguments.get("clean_shutdown", True))
        return [(PowerOff(self.work, gracefully=gracefully),), *leaving(self.work)]


def leaving(work: Work) -> Plan:
    """The stages after which nothing of a server that is off is left on this host."""
    return [
        (RemoveGuest(work), ForgetConsoles(work)),
        (UnplugInterfaces(work), UnbindPorts(work), GiveVolumesBack(work)),
        # Up to here the server could be started again.
        (RemoveDisks(work), DropAllocation(work)),
        (RecordOffloaded(work),),
        (ReleaseResources(work),),
    ]
