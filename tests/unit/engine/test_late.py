"""Operations that come late for a server that another host has by now."""

from __future__ import annotations

import datetime
import threading

import pytest

from nova_lite.engine import late
from nova_lite.failures import OperationFailed
from tests.fakes.killed import Killed, until_killed
from tests.fakes.one_host import OneHost, boot_arguments

CALL = {"device": None, "volume_id": "v1", "disk_bus": None, "device_type": "disk", "tag": None,
        "multiattach": False}  # fmt: skip


@pytest.fixture
def host(tmp_path):
    return OneHost(tmp_path)


def killed_at(host, boundary, method, server, **arguments):
    """Kill the agent at a boundary of an operation; returns its journal entries."""

    def observe(passed):
        if passed == boundary:
            raise Killed

    host.restart(observe)
    with until_killed():
        host.send(method, server, **arguments)
    return host.journal()


def test_a_start_cut_off_by_the_failure_of_the_host_does_not_start_an_evacuated_server(host):
    """It runs on the other host; its record stays as that one wrote it."""
    server = host.boot()
    host.hypervisor.destroy(server)
    host.conductor.set(server, vm_state="stopped", task_state="powering-on", power_state=4)
    assert killed_at(host, "start_instance:refresh_ports:end", "start_instance", server)
    host.evacuate(server)
    before, events = host.conductor.instance(server), host.events()

    host.restart()
    host.engine.resume()
    host.settle()

    assert host.guests() == {server: "SHUTDOWN"}
    assert host.conductor.instance(server) == before
    assert (host.events(), host.journal()) == (events, [])


@pytest.mark.parametrize(
    ("method", "task", "arguments"),
    [
        ("reboot_instance", "rebooting_hard", {"reboot_type": "HARD", "block_device_info": None}),
        ("stop_instance", "powering-off", {"clean_shutdown": False}),
        ("start_instance", "powering-on", {}),
        ("pause_instance", "pausing", {}),
        ("soft_delete_instance", "soft-deleting", {}),
        ("terminate_instance", "deleting", {"bdms": None}),
    ],
)
def test_a_message_that_waited_for_the_host_leaves_an_evacuated_server_alone(
    host, method, task, arguments
):
    """Neither the guest, nor the record, nor an event, a fault or the allocation changes."""
    server = host.boot()
    host.conductor.set(server, task_state=task)
    sent = host.get(server)
    host.evacuate(server)
    before, state = host.conductor.instance(server), host.guests()
    allocations = host.allocations(server)

    host.restart()
    host.engine.listening()
    host.send(method, server, instance=sent, **arguments)
    host.settle()

    assert host.guests() == state
    assert host.conductor.instance(server) == before
    assert (host.events(), host.allocations(server)) == ([], allocations)
    assert (host.conductor.read().get("InstanceFault"), host.journal()) == (None, [])


def test_one_that_waited_behind_another_operation_is_late(host, monkeypatch):
    """The agent was cut off from the cloud meanwhile, and did not notice."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    sent = host.get(server)
    host.evacuate(server)
    held = threading.Event()
    host.engine.after(server, "something that takes its time", lambda: held.wait(10))
    host.send("stop_instance", server, instance=sent, clean_shutdown=False)
    monkeypatch.setattr(late, "OLD_S", 0.0)

    held.set()
    host.settle()

    assert host.row(server) == ("host2", "active", None, 1)


def test_one_that_the_api_got_long_ago_is_late(host):
    """Wherever it waited: its context tells when the API got it, in UTC without a zone."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    sent = host.get(server)
    host.evacuate(server)
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=45)

    host.send(
        "stop_instance", server, instance=sent, clean_shutdown=False,
        context={"timestamp": then.replace(tzinfo=None).isoformat()},
    )  # fmt: skip
    host.settle()

    assert host.row(server) == ("host2", "active", None, 1)


def test_what_comes_at_once_costs_no_call(host):
    """Its message shows the server as it is."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()
    sent = host.get(server)
    with host.conductor.database() as tables:
        tables["calls"] = []

    host.send(
        "stop_instance", server, instance=sent, clean_shutdown=False, context={"timestamp": now}
    )
    host.settle()

    assert host.row(server) == ("host1", "stopped", None, 4)
    assert "Instance.get_by_uuid" not in host.conductor.read()["calls"]


def test_a_late_message_for_a_server_that_is_here_is_carried_out(host):
    """It waited while the agent was restarted."""
    server = host.boot()
    host.conductor.set(server, task_state="powering-off")

    host.restart()
    host.engine.listening()
    host.send("stop_instance", server, clean_shutdown=False)
    host.settle()

    assert host.row(server) == ("host1", "stopped", None, 4)


def test_a_server_whose_evacuation_has_begun_is_not_this_hosts_any_more(host):
    """The record still names this host until the other one has built the server."""
    server = host.boot()
    host.conductor.set(server, task_state="rebooting_hard")
    sent = host.get(server)
    host.evacuate(server, "pre-migrating")
    before = host.conductor.instance(server)

    host.restart()
    host.engine.listening()
    host.send(
        "reboot_instance", server, instance=sent, reboot_type="HARD", block_device_info=None
    )  # fmt: skip
    host.settle()

    assert host.conductor.instance(server) == before


def test_who_waits_for_the_answer_is_told(host):
    """Under a name that the API answers 409 for, with the host to ask."""
    server = host.boot()
    sent = host.get(server)
    host.evacuate(server)
    host.engine.listening()

    entry = host.send("reserve_block_device_name", server, instance=sent, **CALL)

    with pytest.raises(OperationFailed, match="host2") as told:
        entry.answer.result(timeout=30)
    assert told.value.nova_name == "InstanceNotReady"


def test_a_boot_that_was_cut_off_goes_on(host):
    """Its server has no host yet, or this one already."""
    server = host.schedule()
    assert killed_at(
        host, "build_and_run_instance:take_server:end", "build_and_run_instance", server,
        **boot_arguments(),
    )  # fmt: skip

    host.restart()
    host.engine.resume()
    host.settle()

    assert host.row(server) == ("host1", "active", None, 1)


def test_a_failed_operation_is_not_taken_back_on_a_server_that_left(host):
    """Killed after it failed and before it was undone: the ports are the other host's by now."""
    server = host.schedule()
    host.hypervisor.fail("start", RuntimeError("no"))
    assert killed_at(
        host, "build_and_run_instance:failed", "build_and_run_instance", server, **boot_arguments()
    )
    host.evacuate(server)
    ports = host.ledger.read()["ports"]
    before = host.conductor.instance(server)

    host.restart()
    host.engine.resume()
    host.settle()

    assert host.ledger.read()["ports"] == ports
    assert host.conductor.instance(server) == before


def test_what_failed_here_is_told_though_the_next_host_has_the_server(host):
    """Killed after the boot was handed over: the event is this host's, and its failure is known."""
    server = host.schedule()
    host.hypervisor.fail("start", RuntimeError("no"))
    assert killed_at(
        host, "build_and_run_instance:reported", "build_and_run_instance", server,
        **boot_arguments(),
    )  # fmt: skip
    host.conductor.set(server, host="host2")

    host.restart()
    host.engine.resume()
    host.settle()

    *_, (event, phase, error) = host.events()
    assert (event, phase) == ("compute__do_build_and_run_instance", "finish")
    assert error
