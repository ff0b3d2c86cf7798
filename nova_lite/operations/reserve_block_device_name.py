"""reserve_block_device_name: the name of a disk to come, and its block device mapping.

nova-conductor (or nova-api, before 2026.1) waits for the mapping and goes on with it. Resume rule:
back. Whoever asked does not hear from the process that was killed, so that the mapping would be in
the volume's way for ever.
"""

from __future__ import annotations

from typing import Any

from nova_lite.errors import AnswerLost
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.volume.attachments import ReserveDevice


class ReserveBlockDeviceName(Operation):
    event = None
    requires = {
        "device": object,
        "volume_id": str,
        "disk_bus": object,
        "device_type": object,
        "tag": object,
        "multiattach": object,
    }
    answers = True
    undoes = True

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._reserve = ReserveDevice(work)

    def load(self) -> None:
        if self.work.resumed:
            raise AnswerLost(
                f"the agent on host {self.tools.host} was restarted while it chose a device name "
                f"for volume {self.work.arguments['volume_id']}: attach it again"
            )

    def plan(self) -> Plan:
        return [(self._reserve,)]

    def answer(self) -> Any:
        return self._reserve.mapping

    def failed(self, failure: Failure) -> None:
        """The caller is told; nothing else knows of it."""
