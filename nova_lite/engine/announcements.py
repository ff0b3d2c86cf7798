"""What the notification topics hear of an operation: that it starts, ended, or failed.

Each is said once: a note in the journal keeps a resumed operation from saying it again, unless the
agent was killed in between. Saying it can neither fail nor delay an operation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nova_lite.engine.bus import EngineEvent, Moment
from nova_lite.engine.entry import Entry
from nova_lite.errors import JournalError, NovaLiteError, Verdict
from nova_lite.failures import Failure
from nova_lite.model.states import VmState
from nova_lite.notifications import legacy, versioned
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.subject import Detail, Subject, Trouble
from nova_lite.operations.base import Operation
from nova_lite.services import guest, shares
from nova_lite.services.work import Work
from nova_lite.steps.base import Stage
from nova_lite.wire import decode
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

# Without these there is no payload; a request may come without some of them.
NEEDED = ("flavor", "metadata", "system_metadata", "info_cache")
NEEDED_BY = {
    "create": ("keypairs", "tags", "trusted_certs"),
    "rebuild": ("trusted_certs",),
}
# Actions that tell of the server's volumes even where bdms_in_notifications is off.
WITH_MAPPINGS = frozenset(
    "create delete shutdown reboot resume rebuild shelve shelve_offload unshelve".split()
)
# Actions that end in an ``error`` of their own; a failed boot is nothing but that.
WITH_ERROR = frozenset(
    "create rebuild interface_attach volume_attach volume_swap share_attach share_detach".split()
)
# Actions -> the step after whose stage something else of theirs is to be told.
MILESTONES = {
    "delete": "remove_disks",  # the guest's shutdown, a part of each delete, is over
    "shelve": "record_shelved",  # the server may go on to leave its host
    "rescue": "start_guest",  # from here on it uses something else
}


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
        """The server is known, and nothing was done to it yet."""
        self._once("start", operation, entry, lambda: self._tell_start(operation))

    def passed(self, operation: Operation, entry: Entry, stage: Stage) -> None:
        """A stage of the plan was carried out."""
        step = MILESTONES.get(operation.notifies or "")
        if any(step == passed.name for passed in stage):
            self._once("milestone", operation, entry, lambda: self._tell_milestone(operation))

    def ended(self, operation: Operation, entry: Entry) -> None:
        """The whole plan was carried out."""
        self._once("end", operation, entry, lambda: self._tell_end(operation))

    def failed(self, operation: Operation, entry: Entry, failure: Failure) -> None:
        """It was taken back, and the API was told."""
        self._once("error", operation, entry, lambda: self._tell_failed(operation, entry, failure))

    def _once(
        self, phase: str, operation: Operation, entry: Entry, tell: Callable[[], None]
    ) -> None:
        told = entry.notes.get("told", ())
        if not self._notifier.on or phase in told:
            return
        try:
            tell()
            entry.note_unsynced(told=[*told, phase])
        except JournalError:
            pass  # the next step finds that, too, and may say so
        except NovaLiteError as error:
            LOG.info("No notification that %s of server %s reached its %s: %s",
                     entry.method, entry.server_uuid, phase, error)  # fmt: skip
        except Exception:
            LOG.exception("No notification of %s of server %s", entry.method, entry.server_uuid)

    def _tell_start(self, operation: Operation) -> None:
        action, work = operation.notifies, operation.work
        if action is None:
            return
        subject = self._subject(work, action)
        if action in ("rebuild", "shelve"):
            self._tell_existed(action, work)
        self._tell(subject, action, "start", work)
        if action == "delete":
            self._tell(subject, "shutdown", "start", work)

    def _tell_milestone(self, operation: Operation) -> None:
        action, work = str(operation.notifies), operation.work
        subject = self._subject(work, action)
        if action == "delete":
            self._tell(_without_ports(subject), "shutdown", "end", work)
        elif action == "rescue":
            self._tell_existed(action, work)
        elif _leaves(action, work):
            self._tell(subject, action, "end", work)
            self._tell(subject, "shelve_offload", "start", work)

    def _tell_end(self, operation: Operation) -> None:
        action, work = operation.notifies, operation.work
        if action is None:
            return
        subject = self._subject(work, action)
        if action == "delete":
            subject = _without_ports(subject)
        elif _leaves(action, work):
            action = "shelve_offload"
        self._tell(subject, action, "end", work)

    def _tell(self, subject: Subject, action: str, phase: str, work: Work) -> None:
        self._notifier.action(subject, action, phase, _detail(action, phase, work, subject))

    def _tell_failed(self, operation: Operation, entry: Entry, failure: Failure) -> None:
        action, work = operation.notifies, operation.work
        survived = action == "reboot" and work.instance.get("vm_state") != VmState.ERROR
        if action in WITH_ERROR or survived:
            assert action is not None
            subject = self._subject(work, action)
            self._notifier.action(
                subject, action, "error", _detail(action, "error", work, subject), failure
            )
            if survived:
                self._notifier.action(subject, action, "end")
        if action != "create" and not survived and failure.verdict != Verdict.GONE.value:
            self._notifier.exception(work.context, Trouble(failure, entry.method, work.arguments))

    def _tell_existed(self, action: str, work: Work) -> None:
        """The server as it was, for the audit: it is about to use something else."""
        before: dict[str, Any] = {}
        if action == "rebuild":
            before["image_ref_url"] = work.arguments.get("orig_image_ref")
            metadata = work.arguments.get("orig_sys_metadata")
            before["image_meta"] = legacy.image_meta(metadata or {})
        self._notifier.exists(self._subject(work, "exists"), so_far=True, **before)

    def _subject(self, work: Work, action: str) -> Subject:
        """:raises ServerNotFound, ControlPlaneUnavailable: it had to be asked for"""
        missing = [
            name for name in (*NEEDED, *NEEDED_BY.get(action, ())) if name not in work.instance
        ]
        if missing:
            found = work.tools.instances.get(work.context, work.uuid, missing)
            for name in missing:
                work.instance.data[name] = found.data.get(name)
        wanted = self._notifier.with_mappings or action in WITH_MAPPINGS
        return Subject(
            work.context,
            work.instance,
            decode.domain_name(work.instance, work.tools.conf.instance_name_template),
            vifs=guest.vifs(work),
            mappings=_mappings(work) if wanted else None,
            shares=_shares(work) if self._notifier.with_shares else None,
        )


def _detail(action: str, phase: str, work: Work, subject: Subject) -> Detail:
    """What the notifications of some actions say in addition."""
    make = _DETAILS.get(action)
    return make(phase, work, subject) if make else Detail()


def _create(phase: str, work: Work, subject: Subject) -> Detail:
    more: Mapping[str, Any] = {}
    if phase == "start":
        more = {"image_name": (work.arguments.get("image") or {}).get("name")}
    elif phase == "end":
        more = {"message": "Success"}
    return Detail("InstanceCreate", versioned.creation(subject), more, addresses=phase == "end")


def _rebuild(phase: str, work: Work, subject: Subject) -> Detail:
    certificates = {"trusted_image_certificates": versioned.certificates(subject.instance)}
    more = {} if phase == "error" else {"image_name": _image_name(work, subject, "image_ref")}
    return Detail("InstanceActionRebuild", certificates, more, addresses=phase == "end")


def _rescue(phase: str, work: Work, subject: Subject) -> Detail:
    image = {"rescue_image_ref": work.arguments.get("rescue_image_ref")}
    more = {"rescue_image_name": _image_name(work, subject, "rescue_image_ref")}
    return Detail("InstanceActionRescue", image, more, addresses=True)


def _unrescue(phase: str, work: Work, subject: Subject) -> Detail:
    return Detail(addresses=True)


def _snapshot(phase: str, work: Work, subject: Subject) -> Detail:
    return Detail("InstanceActionSnapshot", {"snapshot_image_id": work.arguments["image_id"]})


def _volume(phase: str, work: Work, subject: Subject) -> Detail:
    mapping = work.arguments.get("bdm") or work.arguments
    volume = {"volume_id": mapping["volume_id"]}
    return Detail("InstanceActionVolume", volume, volume)


def _share(phase: str, work: Work, subject: Subject) -> Detail:
    return Detail("InstanceActionShare", {"share_id": work.arguments["share_mapping"]["share_id"]})


def _swap(phase: str, work: Work, subject: Subject) -> Detail:
    names = ("old_volume_id", "new_volume_id")
    return Detail("InstanceActionVolumeSwap", {name: work.arguments[name] for name in names})


def _image_name(work: Work, subject: Subject, argument: str) -> str | None:
    """The name of the image that an argument names, else of the server's own."""
    image_id = work.arguments.get(argument) or subject.instance.get("image_ref")
    if not image_id:
        return None
    try:
        return work.tools.images.show(work.context, str(image_id)).name
    except NovaLiteError:
        return ""


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


def _without_ports(subject: Subject) -> Subject:
    return replace(subject, vifs=())


def _leaves(action: str, work: Work) -> bool:
    """Whether this is a shelve after which the server leaves the host at once."""
    return action == "shelve" and bool(work.notes.get("offload"))


_DETAILS: Mapping[str, Callable[[str, Work, Subject], Detail]] = {
    "create": _create,
    "rebuild": _rebuild,
    "rescue": _rescue,
    "unrescue": _unrescue,
    "snapshot": _snapshot,
    "volume_attach": _volume,
    "volume_detach": _volume,
    "volume_swap": _swap,
    "share_attach": _share,
    "share_detach": _share,
}
