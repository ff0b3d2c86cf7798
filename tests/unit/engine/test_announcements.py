"""What is said of an operation, and that it is said once and can do no harm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.engine.announcements import Announcements
from nova_lite.engine.journal import Journal
from nova_lite.errors import (
    ControlPlaneUnavailable,
    ImageNotFound,
    JournalError,
    ServerBeingDeleted,
)
from nova_lite.failures import Failure
from nova_lite.operations.boot import Boot
from nova_lite.operations.delete import Delete
from nova_lite.operations.inject_network_info import InjectNetworkInfo
from nova_lite.operations.pause import Pause
from nova_lite.operations.reboot import Reboot
from nova_lite.operations.rebuild import Rebuild
from nova_lite.operations.rescue import Rescue
from nova_lite.operations.shelve import Shelve
from nova_lite.operations.snapshot import Snapshot
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.disk.files import RemoveDisks
from nova_lite.steps.guest.domain import StartGuest
from nova_lite.steps.guest.rescue import StartRescueGuest
from nova_lite.steps.records.shelving import RecordShelved
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

UUID = "9c1a180a-1b90-4632-a16c-edd6302c3a7d"


class Listener:
    """A notifier that keeps what it is told."""

    on, with_mappings, with_shares = True, False, False

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.subjects: list[Any] = []

    def action(self, subject, action, phase, detail=None, failure=None):
        self.subjects.append(subject)
        self.said.append(f"{action}.{phase}")

    def exists(self, subject, *, so_far, **fields):
        self.said.append("exists")
        self.fields = fields

    def exception(self, context, trouble):
        self.said.append(trouble.method)


VERBS = {
    "pause": Pause,
    "create": Boot,
    "snapshot": Snapshot,
    "delete": Delete,
    "rescue": Rescue,
    "rebuild": Rebuild,
    "shelve": Shelve,
    "reboot": Reboot,
    None: InjectNetworkInfo,
}


class World:
    """An operation of one server that is told of, but not carried out."""

    def __init__(self, tmp_path, notifies, method="some_method", **fields):
        journal = Journal(tmp_path)
        journal.prepare()
        self.entry = journal.open({"request_id": "r", "method": method, "server": UUID})
        self.asked: list[Any] = []
        tools = SimpleNamespace(
            conf=SimpleNamespace(instance_name_template="instance-%08x"),
            instances=self,
            block_devices=SimpleNamespace(of_server=lambda context, uuid: []),
            images=SimpleNamespace(show=lambda context, image: SimpleNamespace(name="tiny")),
        )
        instance = {"id": 7, "vm_state": "active", "metadata": {}, "system_metadata": {},
                    "flavor": None, "info_cache": None, "tags": None, "keypairs": None,
                    "trusted_certs": None, **fields}  # fmt: skip
        self.work = Work(
            RequestContext.admin(),
            tools,  # type: ignore[arg-type]
            WireObject.new("Instance", "2.8", uuid=UUID, **instance),
            {"image_id": "i1", "image": {"name": "tiny"}, "orig_image_ref": "old",
             "orig_sys_metadata": {"image_os": "linux"}},
            self.entry.notes,
            self.entry.note,
        )  # fmt: skip
        self.operation = VERBS[notifies](self.work)
        assert self.operation.notifies == notifies
        self.listener = Listener()
        self.announcements = Announcements(self.listener)  # type: ignore[arg-type]

    def get(self, context, uuid, attributes):
        self.asked.append(attributes)
        return WireObject.new("Instance", "2.8", uuid=uuid, **dict.fromkeys(attributes))

    def run(self, *stages: type[Step]) -> list[Any]:
        """Carry it out; each stage has the one step, of which only the class matters."""
        tell = self.announcements
        tell.started(self.operation, self.entry)
        for step in stages:
            tell.passed(self.operation, self.entry, (step.__new__(step),))
        tell.ended(self.operation, self.entry)
        return self.listener.said

    def fail(self, error) -> list[Any]:
        self.announcements.failed(self.operation, self.entry, Failure.of(error))
        return self.listener.said


@pytest.mark.parametrize(
    ("action", "step", "said"),
    [
        ("pause", StartGuest, ["pause.start", "pause.end"]),
        ("create", StartGuest, ["create.start", "create.end"]),
        ("snapshot", StartGuest, ["snapshot.start", "snapshot.end"]),
        ("delete", RemoveDisks,
         ["delete.start", "shutdown.start", "shutdown.end", "delete.end"]),
        ("rescue", StartRescueGuest, ["rescue.start", "exists", "rescue.end"]),
        ("rebuild", RemoveDisks, ["exists", "rebuild.start", "rebuild.end"]),
        ("shelve", RecordShelved, ["exists", "shelve.start", "shelve.end"]),
        (None, StartGuest, []),
    ],
)  # fmt: skip
def test_what_is_said_of_a_good_end(tmp_path, action, step, said) -> None:
    """Names and order are those of stock nova-compute."""
    assert said == World(tmp_path, action).run(step)


def test_a_shelve_that_leaves_the_host_is_two_actions(tmp_path) -> None:
    """With shelved_offload_time = 0 the offload is told as well."""
    world = World(tmp_path, "shelve")
    world.work.note(offload=True)

    assert world.run(RecordShelved) == [
        "exists", "shelve.start", "shelve.end", "shelve_offload.start", "shelve_offload.end"
    ]  # fmt: skip


def test_a_rebuild_tells_of_the_image_that_was_used_until_now(tmp_path) -> None:
    """The API has changed the record already."""
    world = World(tmp_path, "rebuild")
    world.run()

    assert world.listener.fields == {"image_ref_url": "old", "image_meta": {"os": "linux"}}


@pytest.mark.parametrize(
    ("action", "vm_state", "said"),
    [
        ("pause", "active", ["some_method"]),
        (None, "active", ["some_method"]),
        ("create", "error", ["create.error"]),
        ("rebuild", "error", ["rebuild.error", "some_method"]),
        ("reboot", "active", ["reboot.error", "reboot.end"]),
        ("reboot", "error", ["some_method"]),
    ],
)
def test_what_is_said_of_a_failure(tmp_path, action, vm_state, said) -> None:
    """Most actions have no error of their own: the failed method is named."""
    world = World(tmp_path, action, vm_state=vm_state)

    assert said == world.fail(ImageNotFound("Image 42 is gone"))


def test_a_delete_that_came_in_between_is_no_failure(tmp_path) -> None:
    """Only a boot that a delete has cut off is told as an error."""
    error = ServerBeingDeleted("Server is being deleted")

    assert World(tmp_path / "a", "pause").fail(error) == []
    assert World(tmp_path / "b", "create").fail(error) == ["create.error"]


def test_a_resumed_operation_does_not_say_it_again(tmp_path) -> None:
    """The journal knows what was said before the agent was killed."""
    world = World(tmp_path, "pause")
    world.announcements.started(world.operation, world.entry)
    again = next(Journal(tmp_path).entries())

    world.announcements.started(world.operation, again)
    world.announcements.ended(world.operation, again)

    assert world.listener.said == ["pause.start", "pause.end"]


def test_what_the_request_lacks_is_asked_for_once(tmp_path) -> None:
    """And what it has is not asked for."""
    world = World(tmp_path, "create")
    for name in ("tags", "flavor"):
        del world.work.instance.data[name]

    world.run()

    assert world.asked == [["flavor", "tags"]]


@pytest.mark.parametrize(
    "error", [ControlPlaneUnavailable("away"), JournalError("full"), RuntimeError("a bug")]
)
def test_saying_it_cannot_fail_the_operation(tmp_path, error) -> None:
    """Whatever happens, the operation goes on."""
    world = World(tmp_path, "pause")

    def fail(*arguments: Any, **more: Any) -> None:
        raise error

    world.listener.action = fail  # type: ignore[method-assign]

    assert world.run() == []


def test_nothing_is_asked_or_written_where_nobody_listens(tmp_path) -> None:
    """An agent without a driver does exactly what it did before there were notifications."""
    world = World(tmp_path, "create")
    world.listener.on = False  # type: ignore[misc]
    world.work.instance.data.clear()

    assert (world.run(StartGuest), world.asked, world.entry.notes) == ([], [], {})
