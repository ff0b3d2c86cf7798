"""reserve_block_device_name: create the block device mapping of a volume that will be attached.

nova-conductor (or nova-api, before 2026.1) calls this and waits for the mapping. Resume rule: roll
back. The caller does not get the answer of a killed process, and a mapping that is left would keep
the volume from being attached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import AnswerLost
from nova_lite.failures import Failure
from nova_lite.operations.base import Operation
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Plan
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
    rolls_back_unanswered = True
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._reserve = ReserveDevice(work)

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["volume_id"])

    def load(self) -> None:
        if self.work.resumed:
            raise AnswerLost(
                f"the agent on host {self.tools.host} was restarted while it chose a device name "
                f"for volume {self.work.arguments['volume_id']}: attach it again"
            )

    def plan(self) -> Plan:
        return [(self._reserve,), COMPLETE]

    def answer(self) -> Any:
        return self._reserve.mapping

    def failed(self, failure: Failure) -> None:
        """The caller gets the error; nothing is recorded."""
