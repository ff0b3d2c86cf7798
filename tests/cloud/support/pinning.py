"""Servers with host CPUs of their own: what the books, libvirt and the kernel say of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import STOCK, DevCloud, wait_for

PERIOD_S = 90  # nova-compute tells what it has free once a minute
PINNED = {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"}


@pytest.fixture
def pinning(cloud: DevCloud, api: Api, node: str, other: str) -> Iterator[Pinning]:
    """Each of both hosts has one CPU to be pinned to, and it is another one."""
    cpus = {node: 1, other: 0}
    with contextlib.ExitStack() as undo:
        for host, cpu in cpus.items():
            sets = f"[compute]\ncpu_dedicated_set = {cpu}\ncpu_shared_set = {1 - cpu}"
            undo.enter_context(cloud.options(host, sets))
        for host in cpus:
            path = f"/resource_providers/{cloud.provider(host)}/inventories"
            wait_for(f"{host} tells", lambda p=path: "PCPU" in str(api.placement_get(p)), PERIOD_S)
        yield Pinning(cloud, cpus)


class Pinning:
    """``cpus``: host -> the CPU that it has for this."""

    def __init__(self, cloud: DevCloud, cpus: dict[str, int]) -> None:
        self._cloud, self.cpus = cloud, cpus

    def is_pinned(self, host: str, server: str) -> bool:
        """Whether it is pinned to the CPU that its host has for this, or to none; record,
        definition (of now and of the next start) and threads agree."""
        pins = self._recorded(server)
        cpu = self.cpus[host] if pins else 1 - self.cpus[host]
        assert pins in ({}, {0: cpu})
        for when in ("--live", "--config"):
            said = self._cloud.on(host, "virsh", "-q", "vcpupin", server, when)
            assert said.split() == ["0", str(cpu)], when
        for kind, task in self._threads(host, server):
            said = self._cloud.on(host, "taskset", "-pc", task)
            assert said.rpartition(":")[2].strip() == str(cpu), kind
        return bool(pins)

    def held(self, *hosts: str) -> None:
        """See that these hosts, and no others, have given their CPU away."""
        for host, cpu in self.cpus.items():
            wanted = [cpu] if host in hosts else []
            patience = PERIOD_S if self._cloud.agent_kind(host) == STOCK else 15
            wait_for(f"{host} holds {wanted}",
                     lambda h=host, w=wanted: self._given(h) == w, patience)  # fmt: skip

    def _recorded(self, server: str) -> dict[int, int]:
        """vCPU -> CPU, as Nova's record has it; empty: it is not pinned."""
        text = self._cloud.sql(
            f"select numa_topology from instance_extra where instance_uuid = '{server}'"
        )
        if text.strip() == "NULL":
            return {}
        (cell,) = json.loads(text)["nova_object.data"]["cells"]
        pins = cell["nova_object.data"]["cpu_pinning_raw"]
        return {int(vcpu): cpu for vcpu, cpu in pins.items()}

    def _given(self, host: str) -> list[int]:
        """The CPUs that guests are pinned to, as the host tells the scheduler."""
        text = self._cloud.sql(
            f"select numa_topology from compute_nodes where host = '{host}' and deleted = 0"
        )
        (cell,) = json.loads(text)["nova_object.data"]["cells"]
        return sorted(cell["nova_object.data"]["pinned_cpus"])

    def _threads(self, host: str, server: str) -> list[tuple[str, str]]:
        """(name, id) of the guest's vCPU threads."""
        script = f"""
        pid=$(cat /run/libvirt/qemu/$(virsh domname {server}).pid)
        for task in /proc/$pid/task/*; do echo "${{task##*/}} $(cat $task/comm)"; done"""
        said = self._cloud.on(host, "sh", "-c", script).splitlines()
        lines = [line.split(maxsplit=1) for line in said]
        found = [(name, task) for task, name in filter(None, lines) if "CPU" in name]
        assert found
        return found
