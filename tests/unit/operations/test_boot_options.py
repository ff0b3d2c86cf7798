"""What nova.conf says about boots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.errors import (
    FixedIpInvalid,
    GroupPolicyViolation,
    HypervisorError,
    ImageUnacceptable,
    NoMoreFixedIps,
    PortBindingFailed,
    ServerBeingDeleted,
    VifPlugTimeout,
)
from nova_lite.model.network import FixedIp, Network, Subnet
from tests.fakes.clock import ManualClock
from tests.unit.operations.host import Host, build_arguments


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (HypervisorError("no memory"), 3),
        (GroupPolicyViolation("another server of the group is here"), 2),
        (ServerBeingDeleted("deleted"), 2),
    ],
)
def test_a_failed_build_is_counted_where_the_host_is_to_blame(tmp_path, error, counted):
    """Others are no success either: what was counted before stays."""
    host = Host(tmp_path / "state")
    host.hypervisor.fail("define", error)
    agent = host.agent()
    agent.tools.claims.build_ended(failed=True)
    agent.tools.claims.build_ended(failed=True)

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    assert agent.tools.claims.usage().failed_builds == counted


def failing(ports, errors):
    """Ports whose next allocations fail; returns how often they were asked."""
    allocate, asked = ports.allocate, []

    def first_fail(*arguments, **named):
        asked.append(1)
        if errors:
            raise errors.pop(0)
        return allocate(*arguments, **named)

    ports.allocate = first_fail
    return asked


@pytest.mark.parametrize(
    ("retries", "failures", "asked", "state"),
    [(0, 1, 1, None), (2, 2, 3, "active"), (2, 3, 3, None), (5, 1, 2, "active")],
)
def test_ports_are_asked_for_again(tmp_path, retries, failures, asked, state):
    """[DEFAULT]network_allocate_retries; then the next host is tried."""
    host = Host(tmp_path / "state")
    host.conf.set_override("network_allocate_retries", retries)
    agent = host.agent(clock=ManualClock())
    errors = [PortBindingFailed("Binding failed for port p1") for _ in range(failures)]
    calls = failing(agent.tools.ports, errors)

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    assert len(calls) == asked
    record = host.conductor.read()["Instance"][host.server]
    assert (record["vm_state"] == "active") is (state == "active")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoMoreFixedIps("No fixed IP addresses available for network: n1"),
         "Failed to allocate the network(s) with error No fixed IP addresses available for network:"
         " n1, not rescheduling."),
        (VifPlugTimeout("port p1 is not plugged"),
         "Failed to allocate the network(s), not rescheduling. port p1 is not plugged"),
        (FixedIpInvalid("Fixed IP 10.9.9.9 is not valid"), "Fixed IP 10.9.9.9 is not valid"),
        (ImageUnacceptable("no image"), "no image"),
    ],
)  # fmt: skip
def test_the_fault_of_an_aborted_build(tmp_path, error, told):
    """Begins with the words of stock, by which scripts know it."""
    host = Host(tmp_path / "state")
    agent = host.agent()
    failing(agent.tools.ports, [error])

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    (fault,) = host.conductor.read()["InstanceFault"].values()
    assert fault["message"] == f"Build of instance {host.server} aborted: {told}"
    assert fault["code"] == 500


def test_a_deleted_server_gets_no_more_ports(tmp_path):
    """Nobody waits for a server that is gone."""
    host = Host(tmp_path / "state")
    host.conf.set_override("network_allocate_retries", 9)
    agent = host.agent(clock=ManualClock())
    calls = failing(agent.tools.ports, [ServerBeingDeleted("deleted")])

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    assert len(calls) == 1


NETWORK = Network(
    "n1",
    label="public",
    subnets=(
        Subnet("10.0.0.0/24", 4, ips=(FixedIp("10.0.0.7", 4), FixedIp("10.0.0.8", 4))),
        Subnet("2001:db8::/64", 6, ips=(FixedIp("2001:db8::7", 6),)),
    ),
)


@pytest.mark.parametrize(
    ("option", "given", "addresses"),
    [
        ("public", {}, ("10.0.0.7", "2001:db8::7")),
        ("private", {}, (None, None)),
        (None, {}, (None, None)),
        ("public", {"access_ip_v6": "::1"}, (None, "::1")),
    ],
)
def test_access_addresses_are_of_the_named_network(tmp_path, option, given, addresses):
    """[DEFAULT]default_access_ip_network_name, unless the user has given any."""
    host = Host(tmp_path / "state")
    host.conf.set_override("default_access_ip_network_name", option)
    host.conductor.set(host.server, **{"access_ip_v4": None, "access_ip_v6": None, **given})
    agent = host.agent()
    allocate = agent.tools.ports.allocate
    agent.tools.ports.allocate = lambda *arguments, **named: [
        replace(vif, network=NETWORK) for vif in allocate(*arguments, **named)
    ]

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    record = host.conductor.read()["Instance"][host.server]
    assert (record["access_ip_v4"], record["access_ip_v6"]) == addresses
