"""What the notification topics hear of a verb: declared by the verb, sent by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nova_lite.errors import NovaLiteError
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.services.work import Work
from nova_lite.steps.base import Step

# Phases of an operation. Except for the milestone, these are also phases of a notification.
START, MILESTONE, END, ERROR = "start", "milestone", "end", "error"
# Notifications that are not named after an action.
EXISTS, EXCEPTION = "exists", "exception"


class Notified:
    """The part of an operation that its notifications are made from.

    ``notifies`` is the action, as in ``compute.instance.<action>.start`` (legacy) and
    ``instance.<action>.start`` (versioned); None where the operation sends its own or none.
    ``notifies_error``: a failure is sent as ``<action>.error``, beside the exception.
    ``notifies_mappings``: the block device mappings are sent even where
    [notifications]bdms_in_notifications is off. ``notifies_fields`` are fields of the instance that
    the payload needs beside those of every payload. ``milestone`` is the step after whose stage
    something is to be sent between start and end.

    Names, order and payloads are those of nova-compute 2026.2.
    """

    notifies: ClassVar[str | None] = None
    notifies_error: ClassVar[bool] = False
    notifies_mappings: ClassVar[bool] = False
    notifies_fields: ClassVar[tuple[str, ...]] = ()
    milestone: ClassVar[type[Step] | None] = None

    work: Work

    def notifications(self, phase: str) -> list[str]:
        """What is sent in a phase of the operation, in order.

        Each is ``<action>.<phase>``, :data:`EXISTS` for the usage audit, or :data:`EXCEPTION` for
        the RPC method that failed.
        """
        if phase == ERROR:
            return [f"{self.notifies}.{ERROR}", EXCEPTION] if self.notifies_error else [EXCEPTION]
        if phase == MILESTONE or self.notifies is None:
            return []
        return [f"{self.notifies}.{phase}"]

    def notification_subject(self, phase: str, subject: Subject) -> Subject:
        """The server as the notifications of this phase show it."""
        return subject

    def notification_detail(self, phase: str, subject: Subject) -> Detail:
        """What the payload has beside the server itself.

        :param phase: of the notification: start, end or error
        """
        return Detail()

    def audit_fields(self) -> Mapping[str, Any]:
        """Keys of the legacy ``exists`` payload that the records no longer have."""
        return {}

    def image_name(self, argument: str, subject: Subject) -> str | None:
        """The name of the image whose id is in an argument, else of the server's own image."""
        work = self.work
        image_id = work.arguments.get(argument) or subject.instance.get("image_ref")
        if not image_id:
            return None
        try:
            return work.tools.images.show(work.context, str(image_id)).name
        except NovaLiteError:
            return ""
