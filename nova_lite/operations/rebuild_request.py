"""What rebuild_instance asks for and tells of, whether the server stays on its host or comes from
one that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.model.states import REBUILDING_TASKS
from nova_lite.notifications import legacy, versioned
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.operations.notified import END, ERROR, EXISTS, START
from nova_lite.operations.power import PowerOperation
from nova_lite.operations.restart import AfterRestart, Settlement
from nova_lite.wire.objects import WireObject


class RebuildRequest(PowerOperation):
    event = "compute_rebuild_instance"
    requires = {
        "new_pass": str | None,  # None: the disk is kept, and with it the password
        "injected_files": object,
        "image_ref": object,
        "orig_image_ref": object,
        "orig_sys_metadata": object,
        "bdms": object,
        "recreate": object,
        "preserve_ephemeral": object,
    }
    notifies = "rebuild"
    notifies_error = True
    notifies_mappings = True
    notifies_fields = ("trusted_certs",)
    pool = "builds"
    # connection_info may contain secrets; it is reloaded from the database.
    secrets = ("bdms",)
    after_restart = dict.fromkeys(REBUILDING_TASKS, AfterRestart(Settlement.FAIL, in_error=True))

    def take_mappings(self) -> None:
        """Use the block device mappings of the request, where it has some."""
        bdms = self.work.arguments.get("bdms")
        if isinstance(bdms, WireObject):
            self.work.mappings = list(bdms.objects())

    def notifications(self, phase: str) -> list[str]:
        """The usage audit hears of the server before it uses another image."""
        told = super().notifications(phase)
        return [EXISTS, *told] if phase == START else told

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        certificates = {"trusted_image_certificates": versioned.certificates(subject.instance)}
        more = {} if phase == ERROR else {"image_name": self.image_name("image_ref", subject)}
        return Detail("InstanceActionRebuild", certificates, more, addresses=phase == END)

    def audit_fields(self) -> Mapping[str, Any]:
        """The image until now: nova-api has put the new one into the records already."""
        arguments = self.work.arguments
        return {
            "image_ref_url": arguments.get("orig_image_ref"),
            "image_meta": legacy.image_meta(arguments.get("orig_sys_metadata") or {}),
        }
