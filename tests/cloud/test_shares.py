"""Shares of Manila: from the API to a file system in the guest, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.manila import Manila, running

# Stock cannot share the pages that the flavor here asks for.
pytestmark = [pytest.mark.lite_only, pytest.mark.timeout(900)]

VERSION = "2.97"


@pytest.fixture(scope="module")
def manila(
    cloud: DevCloud, api: Api, node: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Manila]:
    with running(cloud, api, node, tmp_path_factory.mktemp("manila")) as manila:
        yield manila


class Shares:
    """The server's shares in the API, with a token that knows of Manila."""

    def __init__(self, cloud: DevCloud, server_id: str) -> None:
        self._compute = Api(cloud).compute
        self._path = f"/servers/{server_id}/shares"

    def call(self, method: str, path: str = "", body: Any = None) -> Any:
        return self._compute.request(
            self._path + path, method, json=body, microversion=VERSION, raise_exc=False
        )

    def attach(self, share_id: str, tag: str) -> Any:
        answer = self.call("POST", body={"share": {"share_id": share_id, "tag": tag}})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def detach(self, share_id: str) -> None:
        answer = self.call("DELETE", f"/{share_id}")
        assert answer.status_code == 200, answer.text

    def status(self, share_id: str) -> str | None:
        found = self.call("GET").json()["shares"]
        return next((str(s["status"]) for s in found if s["share_id"] == share_id), None)

    def wait(self, share_id: str, status: str | None) -> None:
        wait_for(
            f"share {share_id} {status}", lambda: self.status(share_id) == status, 120, pause=0.5
        )


@pytest.fixture(scope="module")
def flavor(api: Api, module_garbage: Any) -> str:
    """Its memory has pages of a size, which is what the API wants of a server with shares."""
    body = {"name": f"{NAME_PREFIX}.shares", "ram": 128, "vcpus": 1, "disk": 1}
    found = api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"]
    module_garbage.later(lambda: api.call("DELETE", f"/flavors/{found}", ok=False))
    specs = {"extra_specs": {"hw:mem_page_size": "small"}}
    api.call("POST", f"/flavors/{found}/os-extra_specs", specs)
    return str(found)


def mounted(cloud: DevCloud, node: str, path: Path) -> bool:
    return path.name in cloud.on(node, "cat", "/proc/self/mountinfo")


def test_a_guest_reads_and_writes_a_share(
    cloud: DevCloud, api: Api, node: str, manila: Manila, flavor: str,
    boot: Callable[..., dict[str, Any]],
) -> None:  # fmt: skip
    """Attached while the server is off; the host mounts it for as long as the guest runs."""
    server_id = boot(image="tiny-agent", flavor=flavor)["id"]
    api.act(server_id, "os-stop")
    api.wait_status(server_id, "SHUTOFF")
    shares, (share_id, path) = Shares(cloud, server_id), manila.create()
    (path / "hello").write_text("from outside")

    shares.attach(share_id, "docs")
    shares.wait(share_id, "inactive")
    (rule,) = manila.rules.of(share_id)
    assert (rule["access_type"], rule["access_level"]) == ("ip", "rw")
    assert rule["access_to"] == cloud.setting(node, "my_ip", "")
    assert not mounted(cloud, node, path)

    api.act(server_id, "os-start")
    api.wait_status(server_id, "ACTIVE")
    shares.wait(share_id, "active")
    said = Guest(cloud, node, server_id).ask(
        "mkdir -p /s; modprobe virtiofs; mount -t virtiofs docs /s && cat /s/hello && "
        "echo from inside >/s/answer; sync"
    )
    assert "from outside" in said
    assert (path / "answer").read_text() == "from inside\n"
    where = f"instance_uuid = '{server_id}'"
    told = cloud.sql(f"SELECT device_metadata FROM instance_extra WHERE {where}")
    assert share_id in told, "the metadata do not name the share"

    api.act(server_id, "reboot", {"type": "HARD"})
    api.wait_idle(server_id)
    assert (shares.status(share_id), mounted(cloud, node, path)) == ("active", True)

    api.act(server_id, "os-stop")
    api.wait_status(server_id, "SHUTOFF")
    assert (shares.status(share_id), mounted(cloud, node, path)) == ("inactive", False)

    shares.detach(share_id)
    shares.wait(share_id, None)
    assert manila.rules.of(share_id) == []


def test_a_share_goes_with_its_server_and_fails_alone(
    cloud: DevCloud, api: Api, node: str, manila: Manila, flavor: str,
    boot: Callable[..., dict[str, Any]],
) -> None:  # fmt: skip
    """A share that cannot be mounted keeps the server from starting until it is detached."""
    server_id = boot(flavor=flavor)["id"]
    api.act(server_id, "os-stop")
    api.wait_status(server_id, "SHUTOFF")
    shares = Shares(cloud, server_id)
    (good, path), (broken, _) = manila.create(), manila.create(gone=True)
    for share_id in (good, broken):
        shares.attach(share_id, share_id[:8])
        shares.wait(share_id, "inactive")

    api.act(server_id, "os-start")
    api.wait_idle(server_id)
    assert api.server(server_id)["status"] == "SHUTOFF"
    (event,) = api.events(server_id, "start")
    assert event["result"] == "Error"

    shares.detach(broken)
    shares.wait(broken, None)
    api.act(server_id, "os-start")
    api.wait_status(server_id, "ACTIVE")
    assert mounted(cloud, node, path)

    api.delete(server_id)
    api.wait_gone(server_id)
    assert (manila.rules.of(good), mounted(cloud, node, path)) == ([], False)
