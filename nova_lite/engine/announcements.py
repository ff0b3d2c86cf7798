"""What the notification topics hear of an operation: that it starts, ended, or failed.

Each is said once: a note in the journal keeps a resumed operation from saying it again, unless the
agent was killed in between. Saying it can neither fail nor delay an operation.
"""

from __future__ import annotations

import logging

from nova_lite.engine.bus import EngineEvent, Moment
from nova_lite.engine.entry import Entry
from nova_lite.errors import JournalError, NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.subject import Subject, Trouble
from nova_lite.operations.base import Operation
from nova_lite.operations.notified import END, ERROR, EXCEPTION, EXISTS, MILESTONE, START
from nova_lite.services import guest, shares
from nova_lite.services.notes import RunNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Stage
from nova_lite.wire import decode
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Without these there is no payload; a request may come without some of them.
NEEDED = ("flavor", "metadata", "system_metadata", "info_cache")


class Announcements:
    """Tells ``notifier`` of operations; nothing is gathered where that is off."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def heard(self, event: EngineEvent) -> None:
        """Take in what the engine says of an operation."""
        operation, entry = event.operation, event.entry
        if operation is None:
            return
        if event.moment is Moment.BEGUN:
            self.started(operation, entry)
        elif event.moment is Moment.STAGE_ENDED and event.stage is not None:
            self.passed(operation, entry, event.stage)
        elif event.moment is Moment.CARRIED_OUT:
            self.ended(operation, entry)
        elif event.moment is Moment.REPORTED and event.failure is not None:
            self.failed(operation, entry, event.failure)

    def started(self, operation: Operation, entry: Entry) -> None:
        """The server is loaded, and nothing was done to it yet."""
        self._once(START, operation, entry)

    def passed(self, operation: Operation, entry: Entry, stage: Stage) -> None:
        """A stage of the plan was carried out."""
        milestone = operation.milestone
        if milestone is not None and any(isinstance(step, milestone) for step in stage):
            self._once(MILESTONE, operation, entry)

    def ended(self, operation: Operation, entry: Entry) -> None:
        """The whole plan was carried out."""
        self._once(END, operation, entry)

    def failed(self, operation: Operation, entry: Entry, failure: Failure) -> None:
        """It was rolled back, and the API was told."""
        self._once(ERROR, operation, entry, failure)

    def _once(
        self, phase: str, operation: Operation, entry: Entry, failure: Failure | None = None
    ) -> None:
        told = RunNotes.of(entry.notes).told
        if not self._notifier.on or phase in told:
            return
        try:
            self._send(phase, operation, entry.method, failure)
            entry.note_unsynced(told=[*told, phase])
        except JournalError:
            pass  # the next step finds that, too, and may say so
        except NovaLiteError as error:
            LOG.info("No notification that %s of server %s reached its %s: %s",
                     entry.method, entry.server_uuid, phase, error)  # fmt: skip
        except Exception:
            LOG.exception("No notification of %s of server %s", entry.method, entry.server_uuid)

    def _send(
        self, phase: str, operation: Operation, method: str, failure: Failure | None
    ) -> None:
        subject: Subject | None = None
        for name in operation.notifications(phase):
            if name == EXISTS:
                self._send_exists(operation)
            elif name == EXCEPTION:
                self._send_exception(operation, method, failure)
            else:
                action, _, told = name.partition(".")
                subject = subject or self._subject(operation, operation.notifies_mappings)
                self._notifier.action(
                    operation.notification_subject(phase, subject),
                    action,
                    told,
                    operation.notification_detail(told, subject),
                    failure if told == ERROR else None,
                )

    def _send_exists(self, operation: Operation) -> None:
        """The server as it was, for the audit: it is about to use something else."""
        subject = self._subject(operation, with_mappings=False)
        self._notifier.exists(subject, so_far=True, **operation.audit_fields())

    def _send_exception(
        self, operation: Operation, method: str, failure: Failure | None
    ) -> None:
        work = operation.work
        if failure is not None and failure.verdict != Verdict.GONE:
            self._notifier.exception(work.context, Trouble(failure, method, work.arguments))

    def _subject(self, operation: Operation, with_mappings: bool) -> Subject:
        """:raises ServerNotFound, ControlPlaneUnavailable: it had to be asked for"""
        work = operation.work
        needed = (*NEEDED, *operation.notifies_fields)
        missing = [name for name in needed if name not in work.instance]
        if missing:
            found = work.tools.instances.get(work.context, work.uuid, missing)
            for name in missing:
                work.instance.data[name] = found.data.get(name)
        return Subject(
            work.context,
            work.instance,
            decode.domain_name(work.instance, work.tools.conf.instance_name_template),
            vifs=guest.vifs(work),
            mappings=_mappings(work) if with_mappings or self._notifier.with_mappings else None,
            shares=_shares(work) if self._notifier.with_shares else None,
        )


def _mappings(work: Work) -> list[WireObject]:
    """The block device mappings: of the request, else as known, else of the records."""
    for name in ("block_device_mapping", "bdms"):
        if work.arguments.get(name) is not None:
            return list(work.arguments[name].objects())
    if work.mappings is not None:
        return work.mappings
    return work.tools.block_devices.of_server(work.context, work.uuid)


def _shares(work: Work) -> list[WireObject]:
    """The share mappings as they are by now."""
    found = shares.possible(work)
    return work.tools.share_mappings.of_server(work.context, work.uuid) if found else []
