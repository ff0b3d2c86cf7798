"""A host loses its power, its server is evacuated to stock nova-compute, and the host comes back.

By then nothing of the server may run here or be left, and nothing that was asked of this host
before may have an effect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.support.api import BOOT_SECONDS, Api
from tests.cloud.support.devcloud import STOCK, DevCloud, wait_for
from tests.cloud.support.extra_agent import services
from tests.cloud.support.raw_amqp import RawAmqp
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.alone]

# From 2.95 on an evacuated server is left stopped.
EVACUATION = "2.94"
SECONDS = 180


@pytest.fixture
def stock(cloud: DevCloud, node: str) -> Iterator[str]:
    """Another host, with stock nova-compute."""
    other = cloud.other_node(node)
    before = cloud.agent_kind(other)
    cloud.switch_agent(other, STOCK)
    yield other
    cloud.switch_agent(other, before)


@pytest.fixture
def power(cloud: DevCloud, api: Api, node: str) -> Iterator[Callable[[bool], None]]:
    """Cuts the host's power and gives it back; the cloud is told, and need not find out."""
    on = [True]

    def switch(wanted: bool) -> None:
        cloud.run("node", node, "up" if wanted else "kill")
        on[0] = wanted
        (service,) = services(api, node)
        path, body = f"/os-services/{service['id']}", {"forced_down": not wanted}
        if not wanted:
            api.call("PUT", path, body)
        else:
            # Refused until the host's agent has completed the migrations of its evacuated servers.
            wait_for(f"{node} accepted", lambda: api.call("PUT", path, body, ok=False), SECONDS)
            wait_for(f"{node} up", lambda: services(api, node)[0]["state"] == "up", SECONDS)

    yield switch
    if not on[0]:
        switch(True)


def evacuate(api: Api, server: str, target: str) -> None:
    response = api.compute.request(
        f"/servers/{server}/action", "POST", json={"evacuate": {"host": target}},
        microversion=EVACUATION, raise_exc=False,
    )  # fmt: skip
    assert response.ok, response.text


def guests(cloud: DevCloud, node: str) -> list[str]:
    return cloud.on(node, "virsh", "list", "--all", "--uuid").split()


def taps(cloud: DevCloud, node: str, server: str) -> list[str]:
    """The server's ports in the switch of a host."""
    listed = json.loads(
        cloud.on(node, "ovs-vsctl", "--format=json", "--columns=name,external_ids", "list",
                 "Interface")
    )  # fmt: skip
    return [name for name, (_, pairs) in listed["data"] if ["vm-uuid", server] in pairs]


def migration(api: Api, server: str) -> dict[str, Any]:
    path = f"/os-migrations?instance_uuid={server}&migration_type=evacuation"
    (found,) = api.call("GET", path)["migrations"]
    return dict(found)


def test_nothing_of_an_evacuated_server_is_left_on_its_old_host(
    cloud, api, node, stock, power, boot, garbage
):
    """Neither guest, nor tap, nor disk, nor allocation; the other host's side stays whole."""
    volumes = Volumes(api, garbage.later)
    server = boot()["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    amqp = RawAmqp(cloud, stock, node)
    garbage.later(amqp.close)
    instance = amqp.ask_conductor(
        "Instance.get_by_uuid", [server], {"expected_attrs": ["flavor", "system_metadata"]}
    )
    assert server in guests(cloud, node)
    assert taps(cloud, node, server)

    power(False)
    # What was asked of the host just before, and waits for it.
    instance["nova_object.data"]["task_state"] = "rebooting_hard"
    amqp.cast("reboot_instance", {
        "instance": instance, "reboot_type": "HARD", "block_device_info": None,
    })  # fmt: skip
    evacuate(api, server, stock)

    def on_other() -> bool:
        shown = api.server(server)
        assert shown["status"] != "ERROR", shown.get("fault")
        return shown["OS-EXT-SRV-ATTR:host"] == stock

    wait_for(f"{server} on {stock}", on_other, BOOT_SECONDS)
    api.wait_status(server, "ACTIVE", BOOT_SECONDS)
    assert migration(api, server)["status"] == "done"
    actions = len(api.actions(server))

    power(True)

    def cleaned() -> bool:
        return migration(api, server)["status"] == "completed"

    wait_for("the removal on the old host", cleaned, SECONDS)
    wait_for("no message waits", lambda: amqp.waiting(f"compute.{node}") == 0, SECONDS)
    log = cloud.agent_log(node)
    wait_for(
        "the end of the late reboot",
        lambda: re.search(rf"reboot_instance of server {server} .* came late", log.read_text()),
        SECONDS,
    )
    assert server not in guests(cloud, node)
    assert taps(cloud, node, server) == []
    assert list((cloud.nova_files(node) / "instances").glob(f"{server}*")) == []
    assert set(api.allocations(server)) == {cloud.provider(stock)}

    shown = api.server(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    assert shown["OS-EXT-SRV-ATTR:host"] == stock
    assert len(api.actions(server)) == actions
    assert server in guests(cloud, stock)
    assert taps(cloud, stock, server)
    assert volumes.users(volume) == [server]
    (host,) = [port["binding:host_id"] for port in api.ports(server)]
    assert host == stock
