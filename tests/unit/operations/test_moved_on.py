"""Servers that somebody else has while an operation of theirs goes on here: the database decides.

The engine does not notice: these requests are not late.
"""

from __future__ import annotations

import pytest

from nova_lite.errors import HypervisorError
from tests.fakes.one_host import OneHost


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
