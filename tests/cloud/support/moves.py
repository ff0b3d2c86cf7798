"""Servers on their way from one host to another: asked for, and looked at in every book."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import LITE, STOCK, CloudError, DevCloud, wait_for
from tests.cloud.support.extra_agent import services
from tests.cloud.support.guest import Guest

SECONDS = 300
# Behind the image's own data, and before the end of the smallest disk.
MARK = "of=/dev/vda bs=64k seek=15000 count=16"
SUM = "dd if=/dev/vda bs=64k skip=15000 count=16 2>/dev/null | md5sum"
# The fixtures ``other`` and ``ends``: between two hosts with nova-lite it is the same both ways.
THREE_WAYS = pytest.mark.parametrize(
    ("other", "ends"), [(LITE, "there"), (STOCK, "there"), (STOCK, "here")],
    indirect=True, scope="module",
)  # fmt: skip
# The same; and between two hosts with nova-lite once more, with another flavor.
FOUR_WAYS = pytest.mark.parametrize(
    ("other", "ends", "resized"),
    [(LITE, "there", False), (LITE, "there", True), (STOCK, "there", False),
     (STOCK, "here", False)],
    ids=["lite", "lite-resized", "to stock", "from stock"],
    indirect=["other", "ends"], scope="module",
)  # fmt: skip


def all_ways(*core: tuple[str, str]) -> pytest.MarkDecorator:
    """Both ways between hosts of either kind.

    :param core: (agent of the other host, way) of those that run every time
    """
    return pytest.mark.parametrize(
        ("other", "ends"),
        [
            pytest.param(kind, way, marks=[pytest.mark.core] if (kind, way) in core else [])
            for kind in (LITE, STOCK)
            for way in ("there", "here")
        ],
        indirect=True, scope="module",
    )  # fmt: skip


# Of a flavor, as the server says it in the API.
SIZES = ("vcpus", "ram", "disk", "ephemeral", "swap")
# How a live migration may end.
OVER = ("completed", "failed", "cancelled", "error")


@dataclass(frozen=True)
class Places:
    """Where a server is found: hosts by what they have of it."""

    guests: tuple[str, ...]
    running: tuple[str, ...]
    directories: tuple[str, ...]  # host/name, with "uuid" for the server's
    taps: tuple[str, ...]
    ports: tuple[str, ...]


class Moves:
    """Moves of servers between the hosts of the cloud."""

    def __init__(self, cloud: DevCloud, api: Api) -> None:
        self._cloud = cloud
        self._api = api

    # --- asking -----------------------------------------------------------------------------
    def migrate(self, server: str, host: str) -> None:
        """Ask for a cold migration to a host."""
        self._api.act(server, "migrate", {"host": host})

    def resize(self, server: str, flavor: str) -> None:
        """Ask for another flavor; the scheduler chooses the host."""
        self._api.act(server, "resize", {"flavorRef": flavor})

    def flavor(
        self, later: Callable[[Callable[[], Any]], None], host: str | None = None,
        specs: dict[str, str] | None = None, **sizes: int,
    ) -> str:  # fmt: skip
        """A new flavor.

        :param later: is given what deletes it
        :param host: no other one has room for it (ComputeCapabilitiesFilter): other lanes go on,
            though the scheduler chooses
        :param specs: its extra specs
        :param sizes: as in the API; default: one CPU, 128 MiB, a disk of 1 GiB
        """
        extra = {**(specs or {}), **({"capabilities:host": f"s== {host}"} if host else {})}
        body = {"name": f"{NAME_PREFIX}.{uuid4().hex[:8]}", "ram": 128, "vcpus": 1, "disk": 1,
                **sizes}  # fmt: skip
        if "ephemeral" in body:
            body["OS-FLV-EXT-DATA:ephemeral"] = body.pop("ephemeral")
        made = str(self._api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
        later(lambda: self._api.call("DELETE", f"/flavors/{made}", ok=False))
        if extra:
            self._api.call("POST", f"/flavors/{made}/os-extra_specs", {"extra_specs": extra})
        return made

    def live(self, server: str, host: str) -> None:
        """Ask for a live migration to a host; the hosts find out what has to be copied."""
        self._api.act(server, "os-migrateLive", {"host": host, "block_migration": "auto"})

    def wait_live(self, server: str, *statuses: str) -> dict[str, Any]:
        """Wait until the newest migration is over, and the server has no task.

        :param statuses: how it may have ended; none: completed
        """

        def look() -> dict[str, Any] | None:
            idle = self._api.server(server)["OS-EXT-STS:task_state"] is None
            found = self.migration(server)
            return found if idle and found["status"] in OVER else None

        found = wait_for(f"end of the live migration of {server}", look, SECONDS)
        if found["status"] not in (statuses or ("completed",)):
            raise CloudError(f"the live migration of {server} is {found['status']}")
        return found

    def wait_live_status(self, server: str, *statuses: str) -> dict[str, Any]:
        """Wait until the newest migration is in one of these states."""

        def look() -> dict[str, Any] | None:
            found = self.migration(server)
            return found if found["status"] in statuses else None

        return wait_for(f"live migration of {server} in {statuses}", look, SECONDS, pause=0.2)

    @contextmanager
    def only(self, *hosts: str) -> Iterator[None]:
        """Let the scheduler choose these hosts only, for a while."""
        rows = [row for node in self._cloud.nodes() for row in services(self._api, node)]
        shut = [row for row in rows if row["host"] not in hosts and row["status"] == "enabled"]
        for row in shut:
            self._api.call("PUT", f"/os-services/{row['id']}", {"status": "disabled"})
        try:
            yield
        finally:
            for row in shut:
                self._api.call("PUT", f"/os-services/{row['id']}", {"status": "enabled"})

    def wait_moved(self, server: str) -> dict[str, Any]:
        """Wait for VERIFY_RESIZE."""
        return self._api.wait_status(server, "VERIFY_RESIZE", SECONDS)

    def confirm(self, server: str, status: str = "ACTIVE") -> None:
        response = self._api.call(
            "POST", f"/servers/{server}/action", {"confirmResize": None}, ok=False
        )
        if not response.ok:
            raise CloudError(f"confirmResize: HTTP {response.status_code}: {response.text}")
        self._api.wait_status(server, status, SECONDS)
        wait_for("confirmed", lambda: self.migration(server)["status"] == "confirmed", SECONDS)

    def revert(self, server: str, status: str = "ACTIVE") -> None:
        self._api.act(server, "revertResize")
        self._api.wait_status(server, status, SECONDS)

    def there_and_back(
        self, server: str, ends: tuple[str, str], look: Callable[[str], None],
        flavor: str | None = None, status: str = "ACTIVE", kept: str = "uuid_resize",
    ) -> None:  # fmt: skip
        """Move a server and revert, move it and confirm.

        :param ends: (old host, new host)
        :param look: sees, with the host it runs on, that it has all it had
        :param flavor: another one, for which there is room on the new host alone
        :param status: in which it is all the time: ACTIVE or SHUTOFF
        :param kept: as of :meth:`waits`
        """
        (old, new), runs = ends, status == "ACTIVE"
        before = self.sizes(server)
        after = self.sizes_of(flavor) if flavor else before
        assert not flavor or after != before
        for end in (self.revert, self.confirm):
            if flavor:
                self.resize(server, flavor)
            else:
                self.migrate(server, new)
            assert self.wait_moved(server)["OS-EXT-SRV-ATTR:host"] == new
            self.waits(server, old, new, running=runs, kept=kept)
            assert self.sizes(server) == after
            look(new)
            end(server, status)
            host, sizes = (old, before) if end == self.revert else (new, after)
            self.settled(server, host, running=runs)
            assert self.sizes(server) == sizes
            look(host)

    def delete_waiting(self, server: str) -> None:
        """Delete a server that waits in VERIFY_RESIZE; nothing of it is left on any host."""
        migration = self.migration(server)["uuid"]

        self._api.delete(server)
        self._api.wait_gone(server)

        wait_for("nothing on the hosts", lambda: not self.places(server).directories, SECONDS)
        assert self.places(server).guests == ()
        assert self._api.allocations(migration) == {}

    # --- looking ----------------------------------------------------------------------------
    def migration(self, server: str) -> dict[str, Any]:
        """The newest one; the first one may come after the answer to the request."""

        def look() -> list[dict[str, Any]]:
            answer = self._api.call("GET", f"/os-migrations?instance_uuid={server}")
            return list(answer["migrations"])

        found = wait_for(f"a migration of {server}", look, SECONDS)
        return dict(max(found, key=lambda row: row["id"]))

    def wait_ended(self, server: str) -> dict[str, Any]:
        """Wait until the newest migration is over, and the server has no task."""

        def look() -> dict[str, Any] | None:
            idle = self._api.server(server)["OS-EXT-STS:task_state"] is None
            found = self.migration(server)
            return found if idle and found["status"] in ("error", "failed") else None

        return wait_for(f"end of the move of {server}", look, SECONDS)

    def places(self, server: str) -> Places:
        """What every host has of a server, and where its ports are bound."""
        cloud, nodes = self._cloud, self._cloud.nodes()
        domains = {n: cloud.on(n, "virsh", "list", "--all", "--uuid").split() for n in nodes}
        running = {n: cloud.on(n, "virsh", "list", "--uuid").split() for n in nodes}
        directories = [
            f"{node}/{path.name.replace(server, 'uuid')}"
            for node in nodes
            for path in (cloud.nova_files(node) / "instances").glob(f"{server}*")
        ]
        return Places(
            tuple(node for node in nodes if server in domains[node]),
            tuple(node for node in nodes if server in running[node]),
            tuple(sorted(directories)),
            tuple(node for node in nodes if self._taps(node, server)),
            tuple(sorted({port["binding:host_id"] for port in self._api.ports(server)})),
        )

    def _taps(self, node: str, server: str) -> list[str]:
        listed = json.loads(
            self._cloud.on(node, "ovs-vsctl", "--format=json", "--columns=name,external_ids",
                           "list", "Interface")
        )  # fmt: skip
        return [name for name, (_, pairs) in listed["data"] if ["vm-uuid", server] in pairs]

    def settled(self, server: str, host: str, *, running: bool = True) -> None:
        """See that the server is on one host, wholly, and nothing of it on any other one."""
        on = (host,) if running else ()
        # Interfaces stay plugged while a server is off.
        wanted = Places((host,), on, (f"{host}/uuid",), (host,), (host,))
        with suppress(CloudError):
            wait_for("one place", lambda: self.places(server) == wanted, 30)
        assert self.places(server) == wanted
        self._held(server, {self._cloud.provider(host)})
        self._held(str(self.migration(server)["uuid"]), set())
        shown = self._api.server(server)
        assert shown["OS-EXT-SRV-ATTR:host"] == host
        assert shown["OS-EXT-STS:task_state"] is None
        assert (shown["status"] == "ACTIVE") == running

    def waits(
        self, server: str, old: str, new: str, *, running: bool = True, kept: str = "uuid_resize"
    ) -> None:
        """See that the server is on its new host, and what a revert needs is on the old one.

        :param kept: the name of its directory there; between cells ``uuid``
        """
        on = (new,) if running else ()
        found = self.places(server)
        assert found.running == on
        assert found.guests == tuple(sorted({old, new}))
        assert f"{old}/{kept}" in found.directories and f"{new}/uuid" in found.directories
        assert (found.ports, found.taps) == ((new,), (new,))
        self._held(server, {self._cloud.provider(new)})
        self._held(str(self.migration(server)["uuid"]), {self._cloud.provider(old)})

    def _held(self, consumer: str, providers: set[str]) -> None:
        wait_for(f"allocations of {consumer} at {sorted(providers)}",
                 lambda: set(self._api.allocations(consumer)) == providers, 30)  # fmt: skip

    # --- what is in it ----------------------------------------------------------------------
    def mark(self, node: str, server: str) -> str:
        """Have the guest write noise on its root disk; the checksum."""
        script = f"dd if=/dev/urandom {MARK} 2>/dev/null; sync; {SUM}"
        return Guest(self._cloud, node, server).ask(script).split()[0]

    def checksum(self, node: str, server: str) -> str:
        """Of that noise, read from the disk."""
        script = f"echo 3 >/proc/sys/vm/drop_caches; {SUM}"
        return Guest(self._cloud, node, server).ask(script).split()[0]

    def sizes(self, server: str) -> dict[str, Any]:
        """What the API says of its flavor: vcpus, ram, disk, ephemeral, swap (MiB and GiB)."""
        has = self._api.server(server)["flavor"]
        return {name: has[name] for name in SIZES}

    def sizes_of(self, flavor: str) -> dict[str, Any]:
        """The same of a flavor."""
        has = self._api.call("GET", f"/flavors/{flavor}")["flavor"]
        has["ephemeral"] = has["OS-FLV-EXT-DATA:ephemeral"]
        return {name: has[name] or 0 for name in SIZES}

    def vcpus(self, node: str, server: str) -> int:
        return int(self._cloud.on(node, "virsh", "vcpucount", server, "--current", "--config"))

    def root_bytes(self, node: str, server: str) -> int:
        """The root disk as the guest sees it."""
        return int(Guest(self._cloud, node, server).ask("blockdev --getsize64 /dev/vda"))
