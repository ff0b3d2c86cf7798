"""Volumes of a server have grown: Cinder says so with the event volume-extended.

Resume rule: forward; sizes are asked for anew. There is nothing to take back: what fails leaves the
guest with the size that it had, until it is started again.
"""

from __future__ import annotations

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.extend import ExtendVolume


class ExtendVolumes(Operation):
    event = "compute_extend_volume"
    requires = {"volume_ids": object}

    def plan(self) -> Plan:
        return [(ExtendVolume(self.work, volume_id),) for volume_id in self._volume_ids]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tools.actions.fault(self.work.context, self.work.uuid, failure)

    @property
    def _volume_ids(self) -> list[str]:
        return [str(volume_id) for volume_id in self.work.arguments["volume_ids"]]
