"""Servers that somebody else has while an operation of theirs goes on here: the database decides.

The engine does not notice: these requests are not late.
"""

from __future__ import annotations

import pytest

from nova_lite.engine.journal import Journal
from nova_lite.errors import HypervisorError
from nova_lite.wire.context import RequestContext
from tests.fakes.one_host import IMAGE, OneHost


@pytest.fixture
def host(tmp_path):
    return OneHost(tmp_path)


def test_the_end_of_a_verb_is_not_written_on_a_server_that_moved_on(host):
    """It runs on the other host, and has no task there."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    sent = host.get(server)
    host.evacuate(server)

    host.send("stop_instance", server, instance=sent, clean_shutdown=False)
    host.settle()

    assert host.row(server) == ("host2", "active", None, 1)


def test_nor_is_its_failure(host):
    """The fault is this host's to tell; the states are not."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    sent = host.get(server)
    host.evacuate(server)
    host.hypervisor.fail("destroy", HypervisorError("the guest cannot be killed"))

    host.send("stop_instance", server, instance=sent, clean_shutdown=False)
    host.settle()

    assert host.row(server) == ("host2", "active", None, 1)


def test_a_failure_is_written_when_the_server_is_still_about_it(host):
    """The task that the API has set goes, and the guest's power is told."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    host.hypervisor.fail("destroy", HypervisorError("the guest cannot be killed"))

    host.send("stop_instance", server, clean_shutdown=False)
    host.settle()

    assert host.row(server) == ("host1", "active", None, 1)
    assert host.conductor.read()["InstanceFault"]


def test_a_report_whose_answer_was_lost_is_not_a_failure(host):
    """The conductor had saved it: asked again, it finds the server as it is to be."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    save, lost = host.conductor.object_instance_save, []

    def lose_one(tables, context, obj, **conditions):
        answer = save(tables, context, obj, **conditions)
        if not lost and obj.data.get("vm_state") == "stopped":
            lost.append(obj)
            host.conductor.lose_answer = True
        return answer

    host.conductor.object_instance_save = lose_one
    host.send("stop_instance", server, clean_shutdown=False)
    host.settle()

    assert lost
    assert host.row(server) == ("host1", "stopped", None, 4)
    assert host.events()[-1] == ("compute_stop_instance", "finish", None)


def rebuild_arguments(host, server):
    metadata = host.conductor.instance(server)["system_metadata"]
    return {
        "new_pass": "secret", "injected_files": [], "image_ref": IMAGE, "orig_image_ref": IMAGE,
        "orig_sys_metadata": dict(metadata), "bdms": None, "recreate": False,
        "on_shared_storage": False, "preserve_ephemeral": False, "migration": None,
        "scheduled_node": None, "limits": {}, "request_spec": None, "accel_uuids": [],
        "reimage_boot_volume": False, "target_state": None,
    }  # fmt: skip


def test_a_rebuild_asks_the_database_before_it_touches_the_guest(host):
    """The server moved on: the guest here is not this operation's to remove."""
    server = host.boot()
    host.conductor.set(server, task_state="rebuilding")
    sent = host.get(server)
    host.evacuate(server)
    files = host.files(server)

    host.send("rebuild_instance", server, instance=sent, **rebuild_arguments(host, server))
    host.settle()

    assert host.guests() == {server: "RUNNING"}
    assert host.files(server) == files
    assert host.row(server) == ("host2", "active", None, 1)


@pytest.mark.parametrize("task", ["rebuild_block_device_mapping", "rebuild_spawning"])
def test_a_rebuild_whose_journal_lost_its_marks_goes_on(host, task, monkeypatch):
    """A power failure takes what was not synced; the record was further already."""
    server = host.boot()
    host.conductor.set(server, task_state="rebuilding")
    entry = host.engine.accept(
        "rebuild_instance", RequestContext({"request_id": "req-1"}), server,
        {"instance": host.get(server), **rebuild_arguments(host, server)},
    )  # fmt: skip
    assert entry is not None
    host.conductor.set(server, task_state=task)
    monkeypatch.setattr(Journal, "boot_id", "another boot of the host")

    host.restart()
    host.engine.resume()
    host.settle()

    assert host.row(server) == ("host1", "active", None, 1)
