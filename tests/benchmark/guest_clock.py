"""For how long a guest stood still, as its clock tells.

A hypervisor stops the clock of a guest that it holds, so that it is late afterwards by just that. A
guest whose clock is set (NTP, or an agent that is told to) shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.cloud.support.devcloud import LITE, DevCloud

SAMPLES = 20
# Runs on the guest's host. The answer that took the least time says most.
LOOK = """
import json, sys, time, libvirt, libvirt_qemu
domain = libvirt.open("qemu:///system").lookupByUUIDString(sys.argv[1])
found = []
for _ in range(int(sys.argv[2])):
    before = time.time()
    answer = libvirt_qemu.qemuAgentCommand(domain, '{"execute": "guest-get-time"}', 30, 0)
    after = time.time()
    found.append((after - before, json.loads(answer)["return"] / 1e9 - (before + after) / 2))
print(*min(found))
"""


@dataclass(frozen=True)
class Clock:
    """``ahead`` of the hosts' clock, which all hosts have, in seconds; ``error`` of that."""

    ahead: float
    error: float


def look(cloud: DevCloud, node: str, server_id: str) -> Clock:
    """The guest's clock now; its image needs the guest agent.

    :raises CloudError: the agent does not answer
    """
    python = cloud.agent_environment(LITE) / "python"
    said = cloud.on(node, str(python), "-c", LOOK, server_id, str(SAMPLES))
    took, ahead = map(float, said.split())
    return Clock(ahead, took / 2)


def stood_still(before: Clock, after: Clock) -> tuple[float, float]:
    """Milliseconds between two looks in which the clock did not go, and how wrong that may be."""
    late = max(0.0, before.ahead - after.ahead)
    return late * 1000, (before.error + after.error) * 1000
