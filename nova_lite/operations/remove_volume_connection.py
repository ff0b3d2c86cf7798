"""remove_volume_connection: disconnect this host from a volume that the server keeps.

Called on the destination of a failed live migration, and by ``nova-manage volume_attachment
refresh`` before it creates a new attachment. Resume rule: forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.operations.base import ANYWHERE, Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.connections import RemoveConnection


class RemoveVolumeConnection(Operation):
    event = None
    requires = {"volume_id": str}
    answers = True
    places = ANYWHERE
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["volume_id"])

    def plan(self) -> Plan:
        return [(RemoveConnection(self.work),)]

    def failed(self, failure: Failure) -> None:
        """The caller gets the error; nothing is recorded."""
