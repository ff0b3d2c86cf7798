"""Servers on a host that nova-compute has left, before this agent starts there."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.membership.survey import Survey
from nova_lite.preflight import servers
from nova_lite.preflight.base import Status
from nova_lite.wire.objects import WireObject
from tests.unit.operations.host import Host


@pytest.fixture
def host(tmp_path: Any) -> Host:
    """A server of the host, active."""
    made = Host(tmp_path)
    made.boot()
    return made


def look(host: Host) -> servers.Finding:
    conf = SimpleNamespace(
        host="host1",
        instance_name_template="instance-%08x",
        libvirt=SimpleNamespace(swtpm_enabled=False),
    )
    env = SimpleNamespace(conf=conf, conductor=host.conductor, hypervisor=host.hypervisor)
    return servers.SERVERS.look(env)


def ask_for_pci(host: Host) -> None:
    asked = WireObject.new("InstancePCIRequest", "1.4", alias_name="gpu", count=1)
    host.set(
        pci_requests=WireObject.new("InstancePCIRequests", "1.1", requests=[asked]).primitive
    )


def test_ordinary_servers_are_fine(host: Host) -> None:
    """They are counted, so that the operator sees that they were looked at."""
    found = look(host)

    assert (found.status, found.message[:9]) == (Status.OK, "1 servers")


def test_servers_that_the_agent_cannot_define_are_named(host: Host) -> None:
    """By their records, or by the definition of a guest that no record tells of."""
    host.hypervisor.foreign[host.server] = ("TPM",)
    assert f"{host.server} (" in look(host).message
    assert "TPM" in look(host).message
    host.hypervisor.foreign.clear()
    ask_for_pci(host)

    found = look(host)

    assert found.status is Status.WARNING
    assert f"{host.server} (" in found.message
    assert "PCI devices (gpu)" in found.message
    assert "nova-compute" in found.remedy


def test_the_start_names_them_too(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """One line of the log for each; the others are not spoken of."""
    ask_for_pci(host)
    agent = host.agent()
    survey = Survey.of(agent.tools, agent.engine, {})
    instances = agent.tools.instances.by_host(None, "host1")
    caplog.clear()  # of what the directories of a test are like

    with caplog.at_level(logging.WARNING):
        survey.name_foreign(instances)

    survey_log = "nova_lite.membership.survey"
    (line,) = [one.getMessage() for one in caplog.records if one.name == survey_log]
    assert host.server in line
    assert "gpu" in line
