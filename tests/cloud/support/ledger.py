"""What is left on hosts and in the books of servers that Nova does not know (any more)."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import DevCloud

SETTLE_SECONDS = 90  # Neutron and OVN need a moment after the server is gone; others may work
YOUNG = 10.0  # seconds: a journal of an operation that is still going on


class Ledger:
    """Finds domains, directories, switch ports, Neutron ports, allocations and journals that
    belong to no server. Other users of the cloud do not disturb it: their servers are known, and a
    lane looks at its own hosts.
    """

    def __init__(self, cloud: DevCloud, api: Api) -> None:
        self._cloud = cloud
        self._api = api
        self._before = self.orphans()

    def leaks(self) -> list[str]:
        """What was left since this ledger was opened, after a little patience."""
        deadline = time.monotonic() + SETTLE_SECONDS
        found = self.orphans() - self._before
        while found and time.monotonic() < deadline:
            time.sleep(0.5)
            found &= self.orphans()
        # Said once: the tests after this one are not to blame.
        self._before |= found
        return sorted(found)

    def orphans(self) -> set[str]:
        """Everything without a server, as one line of text each."""
        things: list[tuple[str, str]] = []  # (server's UUID, text)
        for node in self._cloud.nodes():
            things += self._domains(node) + self._directories(node) + self._switch_ports(node)
            things += self._allocations(node)
        things += self._ports()
        # Asked last: a server that was made meanwhile is known by now.
        known = {server["id"] for server in self._api.servers()}
        left = {text for server, text in things if server not in known}
        for node in self._cloud.nodes():
            left |= self._journals(node) | self._partial_files(node)
        return left

    def _domains(self, node: str) -> list[tuple[str, str]]:
        listed = self._cloud.on(node, "virsh", "list", "--all", "--uuid").split()
        return [(found, f"{node}: domain of {found}") for found in listed]

    def _directories(self, node: str) -> list[tuple[str, str]]:
        names = [path.name for path in (self._cloud.nova_files(node) / "instances").iterdir()]
        return [
            (name[:36], f"{node}: directory {name}") for name in names if _starts_with_uuid(name)
        ]

    def _switch_ports(self, node: str) -> list[tuple[str, str]]:
        table = json.loads(
            self._cloud.on(node, "ovs-vsctl", "--format=json", "--columns=name,external_ids",
                           "list", "Interface")
        )  # fmt: skip
        found = []
        for name, (_, pairs) in table["data"]:
            ids = dict(map(tuple, pairs))
            if "vm-uuid" in ids:
                found.append((ids["vm-uuid"], f"{node}: OVS port {name} of {ids['vm-uuid']}"))
        return found

    def _allocations(self, node: str) -> list[tuple[str, str]]:
        path = f"/resource_providers/{self._cloud.provider(node)}/allocations"
        consumers = self._api.placement_get(path)["allocations"]
        return [(found, f"{node}: allocation of {found}") for found in consumers]

    def _ports(self) -> list[tuple[str, str]]:
        """Of our hosts, or of none: these may be another lane's, but not for long."""
        listed = self._api.rest(self._api.network, "GET", "/ports")["ports"]
        places = {"", *self._cloud.nodes()}
        return [
            (port["device_id"], f"Neutron port {port['id']} of {port['device_id']}")
            for port in listed
            if port["device_owner"].startswith("compute:") and port["binding:host_id"] in places
        ]

    def _journals(self, node: str) -> set[str]:
        """Journals of nova_lite that nobody has closed."""
        folder = self._cloud.nova_files(node) / "nova-lite" / "journal"
        return {
            f"{node}: journal {path.name}"
            for path in folder.glob("*.journal")
            if _age(path) > YOUNG
        }

    def _partial_files(self, node: str) -> set[str]:
        """Downloads and conversions that were cut off."""
        folder = self._cloud.nova_files(node) / "instances"
        return {
            f"{node}: partial file {path.relative_to(folder)}"
            for pattern in ("*.part", "*/*.part")
            for path in folder.glob(pattern)
            if _age(path) > YOUNG
        }


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _starts_with_uuid(name: str) -> bool:
    try:
        uuid.UUID(name[:36])
    except ValueError:
        return False
    return len(name) >= 36
