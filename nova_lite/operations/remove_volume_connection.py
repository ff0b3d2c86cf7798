"""remove_volume_connection: this host lets go of a volume that the server keeps.

A live migration that failed asks for it on the host that the server did not get to, and
``nova-manage volume_attachment refresh`` before it makes a new attachment. Resume rule: forward.
"""

from __future__ import annotations

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.connections import RemoveConnection


class RemoveVolumeConnection(Operation):
    event = None
    requires = {"volume_id": str}
    answers = True
    places = ANYWHERE

    def plan(self) -> Plan:
        return [(RemoveConnection(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The caller hears of it."""
