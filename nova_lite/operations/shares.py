"""allow_share and deny_share: attach a Manila share to a server that is off, and detach it.

The guest sees the change at its next start. Resume rule: forward. A failure sets the share mapping
to error, from which the user can detach the share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.errors import Verdict
from nova_lite.failures import Failure
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.base import Operation
from nova_lite.services import shares
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan
from nova_lite.steps.shares import ForgetShare, GrantAccess, RecordShare, ReleaseShare
from nova_lite.wire.objects import WireObject


class _OfShare(Operation):
    notifies_error = True
    requires = {"share_mapping": WireObject}
    last_resort = {}

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._mapping = work.arguments["share_mapping"]

    @classmethod
    def subject(cls, arguments: Mapping[str, Any]) -> str:
        return str(arguments["share_mapping"]["share_id"])

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        return Detail("InstanceActionShare", {"share_id": self._mapping["share_id"]})

    def failed(self, failure: Failure) -> None:
        if failure.verdict == Verdict.GONE:
            return
        tools, work = self.tools, self.work
        tools.share_mappings.save(work.context, self._mapping, shares.ERROR)
        self.tell(failure)


class AllowShare(_OfShare):
    event = "compute_allow_share"
    notifies = "share_attach"

    def plan(self) -> Plan:
        work, mapping = self.work, self._mapping
        return [(GrantAccess(work, mapping),), (RecordShare(work, mapping),)]


class DenyShare(_OfShare):
    event = "compute_deny_share"
    notifies = "share_detach"

    def plan(self) -> Plan:
        work, mapping = self.work, self._mapping
        return [(ReleaseShare(work, mapping),), (ForgetShare(work, mapping),)]
