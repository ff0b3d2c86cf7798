"""Steps that save that a server is shelved, offloaded from its host, or unshelved to one.

The snapshot of a shelved server is its only copy until it runs again: it is deleted last.
"""

from __future__ import annotations

import datetime
import logging

from nova_lite.errors import NovaLiteError
from nova_lite.model.states import (
    SHELVED_AT,
    SHELVED_HOST,
    SHELVED_IMAGE,
    PowerState,
    TaskState,
    VmState,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.records.server import NOWHERE, here, tell_host

LOG = logging.getLogger(__name__)


class RecordShelved(Step):
    """Save vm_state SHELVED with the snapshot's id: the image is active in Glance."""

    name = "record_shelved"

    def __init__(self, work: Work, image_id: str, *, offload: bool) -> None:
        super().__init__(work)
        self._image_id = image_id
        self._offload = offload

    def done(self) -> bool:
        self.work.reload()
        return shelved_as(self.work, self._image_id)

    def do(self) -> None:
        work, tools = self.work, self.tools
        system_metadata = {
            **work.instance.get("system_metadata", {}),
            SHELVED_AT: datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(),
            SHELVED_IMAGE: self._image_id,
            SHELVED_HOST: tools.host,
        }
        tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.SHELVING, TaskState.SHELVING_IMAGE_UPLOADING],
            vm_state=VmState.SHELVED,
            task_state=TaskState.SHELVING_OFFLOADING if self._offload else None,
            power_state=int(PowerState.SHUTDOWN),
            system_metadata=system_metadata,
        )
        tell_host(work, VmState.SHELVED)


class RecordOffloaded(Step):
    """Save vm_state SHELVED_OFFLOADED without a host: nothing of the server is left here."""

    name = "record_offloaded"

    def done(self) -> bool:
        self.work.reload()
        return not self.work.here

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[TaskState.SHELVING, TaskState.SHELVING_OFFLOADING, None],
            vm_state=VmState.SHELVED_OFFLOADED,
            task_state=None,
            power_state=int(PowerState.SHUTDOWN),
            **NOWHERE,
        )


class DropAllocation(Step):
    """Delete the server's allocations in Placement."""

    name = "drop_allocation"

    def do(self) -> None:
        self.tools.placement.delete_allocations(self.work.uuid)


class TakeOffloaded(Step):
    """Save this host as the host of an offloaded server, with task state spawning.

    A compare-and-swap: a server that was deleted, or unshelved on another host, is not changed.
    """

    name = "take_offloaded"

    def done(self) -> bool:
        self.work.reload()
        taken = self.work.here
        if taken:
            self.work.note(taken=True)
        return taken

    def do(self) -> None:
        work = self.work
        self.tools.instances.save(
            work.context,
            work.instance,
            expected_task_state=[TaskState.UNSHELVING],
            expected_vm_state=[VmState.SHELVED_OFFLOADED],
            task_state=TaskState.SPAWNING,
            **here(work),
        )
        work.note(taken=True)


class DeleteShelvedImage(Step):
    """Delete the snapshot of a shelved server: it runs again."""

    name = "delete_shelved_image"

    def __init__(self, work: Work, image_id: str) -> None:
        super().__init__(work)
        self._image_id = image_id

    def do(self) -> None:
        delete_image(self.work, self._image_id)


def delete_image(work: Work, image_id: str) -> None:
    """Delete the snapshot of a shelved server; a failure is only logged."""
    try:
        work.tools.image_store.delete(work.context, image_id)
    except NovaLiteError as error:
        LOG.warning("Image %s of server %s, which was shelved, could not be deleted: %s",
                    image_id, work.uuid, error)  # fmt: skip


def shelved_as(work: Work, image_id: str) -> bool:
    """Whether the Instance record says that the server is shelved as this image."""
    instance = work.instance
    return bool(
        instance.get("vm_state") in (VmState.SHELVED, VmState.SHELVED_OFFLOADED)
        and instance.get("system_metadata", {}).get(SHELVED_IMAGE) == image_id
    )
