"""A host loses its power, its server is evacuated to another one, and the host comes back.

By then nothing of the server may run here or be left, and nothing that was asked of this host
before may have an effect. The other host has stock nova-compute, or nova-lite as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.support.api import BOOT_SECONDS, Api
from tests.cloud.support.devcloud import LITE, STOCK, DevCloud, wait_for
from tests.cloud.support.extra_agent import services
from tests.cloud.support.raw_amqp import RawAmqp
from tests.cloud.support.volumes import Volumes, checksum_in_ceph

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.alone]

# From 2.95 on an evacuated server is left stopped.
EVACUATION, STOPPING = "2.94", "2.95"
SECONDS = 180


@pytest.fixture
def stock(cloud: DevCloud, node: str) -> Iterator[str]:
    """Another host, with stock nova-compute."""
    with cloud.other_with(node, STOCK) as found:
        yield found


@pytest.fixture
def power_of(cloud: DevCloud, api: Api) -> Iterator[Callable[[str, bool], None]]:
    """Cuts a host's power and gives it back; the cloud is told, and need not find out."""
    off = set()

    def switch(host: str, wanted: bool) -> None:
        cloud.run("node", host, "up" if wanted else "kill")
        (off.discard if wanted else off.add)(host)
        (service,) = services(api, host)
        path, body = f"/os-services/{service['id']}", {"forced_down": not wanted}
        if not wanted:
            api.call("PUT", path, body)
        else:
            # Refused until the host's agent has completed the migrations of its evacuated servers.
            wait_for(f"{host} accepted", lambda: api.call("PUT", path, body, ok=False), SECONDS)
            wait_for(f"{host} up", lambda: services(api, host)[0]["state"] == "up", SECONDS)

    yield switch
    for host in sorted(off):
        switch(host, True)


@pytest.fixture
def power(power_of: Callable[[str, bool], None], node: str) -> Callable[[bool], None]:
    """That of the host under test."""
    return lambda wanted: power_of(node, wanted)


def evacuate(api: Api, server: str, target: str, version: str = EVACUATION) -> None:
    response = api.compute.request(
        f"/servers/{server}/action", "POST", json={"evacuate": {"host": target}},
        microversion=version, raise_exc=False,
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


def wait_for_arrival(api: Api, server: str, host: str, status: str) -> None:
    def arrived() -> bool:
        shown = api.server(server)
        assert shown["status"] != "ERROR", shown.get("fault")
        return shown["OS-EXT-SRV-ATTR:host"] == host and shown["status"] == status

    wait_for(f"{server} {status} on {host}", arrived, BOOT_SECONDS)


def wait_for_clean_up(api: Api, server: str) -> None:
    wait_for(
        "the removal on the old host",
        lambda: migration(api, server)["status"] == "completed",
        SECONDS,
    )


@pytest.fixture
def road(cloud: DevCloud, node: str, request: Any) -> Iterator[tuple[str, str]]:
    """(host that fails, host with nova-lite); the param is the kind of the first one's agent."""
    with cloud.other_with(node, request.param) as other:
        yield (node, other) if request.param == LITE else (other, node)


@pytest.mark.parametrize(
    ("road", "version", "before", "status"),
    [(LITE, EVACUATION, "ACTIVE", "ACTIVE"), (LITE, EVACUATION, "SHUTOFF", "SHUTOFF"),
     (LITE, STOPPING, "ACTIVE", "SHUTOFF"), (STOCK, EVACUATION, "ACTIVE", "ACTIVE"),
     (STOCK, STOPPING, "SHUTOFF", "SHUTOFF")],
    indirect=["road"],
)  # fmt: skip
def test_a_server_comes_to_this_agent(
    cloud, api, road, power_of, boot, garbage, version, before, status
):
    """With port, addresses and volume; on or off as before, or as the API says. Its old host, which
    has the same agent or nova-compute, removes what it had when it is back."""
    old, new = road
    volumes = Volumes(api, garbage.later)
    server = boot(node=old)["id"]
    volume = volumes.create("ceph")
    volumes.attach(server, volume)
    content = checksum_in_ceph(cloud, volume)
    (port,) = api.ports(server)
    if before == "SHUTOFF":
        api.act(server, "os-stop")
        api.wait_status(server, "SHUTOFF", 120)

    power_of(old, False)
    evacuate(api, server, new, version)
    wait_for_arrival(api, server, new, status)

    assert migration(api, server)["status"] == "done"
    assert migration(api, server)["dest_compute"] == new
    (moved,) = api.ports(server)
    assert (moved["id"], moved["fixed_ips"]) == (port["id"], port["fixed_ips"])
    assert moved["binding:host_id"] == new
    assert volumes.users(volume) == [server]
    assert checksum_in_ceph(cloud, volume) == content
    assert server in guests(cloud, new)
    assert set(api.allocations(server)) == {cloud.provider(old), cloud.provider(new)}
    if status == "ACTIVE":
        api.wait_console(server, "TINY: ip")
    else:
        api.act(server, "os-start")
        api.wait_status(server, "ACTIVE", 120)
    (event,) = [e for e in api.events(server, "evacuate")
                if e["event"] == "compute_rebuild_instance"]  # fmt: skip
    assert (event["result"], event["host"]) == ("Success", new)

    power_of(old, True)
    wait_for_clean_up(api, server)
    assert server not in guests(cloud, old)
    assert taps(cloud, old, server) == []
    assert list((cloud.nova_files(old) / "instances").glob(f"{server}*")) == []
    assert set(api.allocations(server)) == {cloud.provider(new)}
    assert api.server(server)["status"] == "ACTIVE"
    assert taps(cloud, new, server)


def watchers(cloud: DevCloud, server: str) -> list[str]:
    status = cloud.run("run", "rbd", "status", "--format", "json", f"vms/{server}_disk")
    return [row["address"] for row in json.loads(status)["watchers"]]


def test_a_host_that_is_not_down_cannot_write_to_the_disk_any_more(
    cloud, api, node, peer, boot, garbage
):
    """An operator may be wrong: the guest of the old host runs on, and loses its disk in Ceph."""
    on_ceph = "[libvirt]\nimages_type = rbd"
    with cloud.options(node, on_ceph), cloud.options(peer, on_ceph):
        server = boot(image="tiny-raw")["id"]
        (before,) = watchers(cloud, server)
        cloud.switch_agent(node, "none")  # it would notice, and clean up
        (service,) = services(api, node)
        path = f"/os-services/{service['id']}"
        api.call("PUT", path, {"forced_down": True})
        try:
            evacuate(api, server, peer)
            wait_for_arrival(api, server, peer, "ACTIVE")

            assert server in guests(cloud, node)  # alive, and shut out
            (now,) = watchers(cloud, server)
            assert now != before
            listed = cloud.run("run", "ceph", "osd", "blocklist", "ls")
            assert before in listed and now not in listed
        finally:
            cloud.switch_agent(node, LITE)
            wait_for(
                f"{node} accepted",
                lambda: api.call("PUT", path, {"forced_down": False}, ok=False), SECONDS,
            )  # fmt: skip
        wait_for_clean_up(api, server)
        assert server not in guests(cloud, node)
        (after,) = watchers(cloud, server)
        assert after == now
        api.delete(server)
        api.wait_gone(server)


def test_what_cannot_come_stays_with_its_host(cloud, api, node, peer, power, boot, garbage):
    """Its image is gone, and there is no shared storage: ERROR, with a fault; then its host is
    back, and has it."""
    image = api.upload_image(cloud.state / "images" / "tiny-fast.qcow2", "qcow2")
    garbage.later(lambda: api.delete_image(image))
    server = boot(image=image)["id"]
    api.delete_image(image)

    power(False)
    evacuate(api, server, peer)
    wait_for(f"{server} in ERROR", lambda: api.server(server)["status"] == "ERROR", BOOT_SECONDS)

    shown = api.server(server)
    assert shown["OS-EXT-SRV-ATTR:host"] == node
    assert shown["fault"]["message"]
    assert migration(api, server)["status"] == "failed"
    assert set(api.allocations(server)) == {cloud.provider(node)}
    assert server not in guests(cloud, peer)
    assert taps(cloud, peer, server) == []
    power(True)
