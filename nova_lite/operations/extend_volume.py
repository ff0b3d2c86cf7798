"""extend_volumes: resize a server's disks after Cinder has sent the event volume-extended.

Resume rule: forward; sizes are read from Cinder again. A failure leaves the guest with the old size
until it is started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.extend import ExtendVolume


class ExtendVolumes(Operation):
    event = "compute_extend_volume"
    requires = {"volume_ids": object}
    last_resort = {}

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return ",".join(sorted(map(str, arguments["volume_ids"])))

    def plan(self) -> Plan:
        return [(ExtendVolume(self.work, volume_id),) for volume_id in self._volume_ids]

    def failed(self, failure: Failure) -> None:
        if failure.verdict != Verdict.GONE:
            self.tell(failure)

    @property
    def _volume_ids(self) -> list[str]:
        return [str(volume_id) for volume_id in self.work.arguments["volume_ids"]]
