"""Cold moves of servers that are more than one disk and one port, there, back and there again.

Volumes of every kind, several ports, local disks beside the root disk, pinned CPUs and UEFI
firmware: between two hosts with nova-lite, and from and to one with nova-compute.
"""

from __future__ import annotations

import contextlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import STOCK, DevCloud, wait_for
from tests.cloud.support.first_boot import drive_path, read_drive
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import used_by, volume_ledgers
from tests.cloud.support.moves import THREE_WAYS, Moves
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1800)]

GIB, MIB = 1024**3, 1024**2
PERIOD_S = 90  # nova-compute tells what it has free once a minute


def there_and_back(
    moves: Moves, server: str, ends: tuple[str, str], look: Callable[[str], None]
) -> None:
    """Move it and revert, move it and confirm.

    :param look: sees, with the host it runs on, that it has all it had
    """
    old, new = ends
    for end in (moves.revert, moves.confirm):
        moves.migrate(server, new)
        assert moves.wait_moved(server)["OS-EXT-SRV-ATTR:host"] == new
        moves.waits(server, old, new)
        look(new)
        end(server)
        host = old if end == moves.revert else new
        moves.settled(server, host)
        look(host)


def disk(source: str, **more: Any) -> dict[str, Any]:
    """An entry of block_device_mapping_v2."""
    return {"source_type": source, "destination_type": "volume", "boot_index": -1, **more}


# --- volumes ------------------------------------------------------------------------------------
@THREE_WAYS
def test_a_server_that_has_volumes_only(cloud, api, moves, ends, garbage):
    """It boots from one, has another one, one that is encrypted, and one that it shares with a
    server that stays. All ledgers say so wherever it is; the host it has left knows no key."""
    old, new = ends
    volumes = Volumes(api, garbage.later)
    root = volumes.create("ceph", imageRef=api.image_id("tiny-agent"))
    data, secret, shared = (volumes.create(k) for k in ("ceph", "encrypted", "multiattach"))
    stays = garbage.server(api.request_boot(old)["id"])
    server = garbage.server(
        api.request_boot(
            old, imageRef="", block_device_mapping_v2=[
                disk("volume", uuid=root, boot_index=0), disk("volume", uuid=data),
                disk("volume", uuid=secret), disk("volume", uuid=shared),
            ],
        )["id"]
    )  # fmt: skip
    for each in (server, stays):
        api.wait_status(each, "ACTIVE", 300)
    volumes.attach(stays, shared)
    content = {each: Guest(cloud, old, server).mark(each) for each in (data, secret, shared)}
    content[root] = moves.mark(old, server)

    def look(host: str) -> None:
        for volume in (root, data, secret):
            assert volume_ledgers(cloud, api, host, volume) == used_by(server)
        both = tuple(sorted((server, stays)))
        found = volume_ledgers(cloud, api, host, shared)
        assert (found.attachments, found.mapped, found.watchers) == (both, both, 2)
        assert server in found.plugged and server in found.defined
        guest = Guest(cloud, host, server)
        assert moves.checksum(host, server) == content[root]
        for volume in (data, secret, shared):
            assert guest.checksum(volume) == content[volume]

    there_and_back(moves, server, ends, look)

    assert secret in cloud.on(new, "virsh", "secret-list")
    assert secret not in cloud.on(old, "virsh", "secret-list")
    assert shared in cloud.on(old, "virsh", "dumpxml", stays)
    for volume in (data, secret, shared):
        volumes.detach(server, volume)
    volumes.wait(data, "available", 0)
    volumes.wait(shared, "in-use", 1)


# --- ports and local disks ----------------------------------------------------------------------
@THREE_WAYS
def test_a_server_with_ports_and_local_disks(
    cloud, api, neutron, moves, ends, garbage, disk_flavor
):
    """Two networks, one port of the user's; ephemeral disk, swap and config drive."""
    old, new = ends
    given = neutron.port(api.network_id("private"))
    second = neutron.network("10.93.7.0/24")
    server = garbage.server(
        api.request_boot(
            old, image="tiny-agent", flavor=disk_flavor, config_drive=True,
            networks=[{"port": given["id"]}, {"uuid": second}],
        )["id"]
    )  # fmt: skip
    api.wait_status(server, "ACTIVE", 180)
    ports = facts(api, server)
    assert len(ports) == 2 and given["id"] in ports
    content = moves.mark(old, server)
    kept = "skip=15000 bs=64k count=16 if=/dev/vdb 2>/dev/null | md5sum"
    noise = "if=/dev/urandom of=/dev/vdb seek=15000 bs=64k count=16 2>/dev/null"
    ephemeral = Guest(cloud, old, server).ask(f"dd {noise}; sync; dd {kept}")
    drive = read_drive(drive_path(cloud, old, server))

    def look(host: str) -> None:
        guest = Guest(cloud, host, server)
        assert facts(api, server) == ports
        assert {port["binding:host_id"] for port in api.ports(server)} == {host}
        wait_for("ports", lambda: {p["status"] for p in api.ports(server)} == {"ACTIVE"}, 60)
        seen = guest.ask("cat /sys/class/net/*/address").split()
        assert {mac for mac, _ in ports.values()} <= set(seen)
        assert moves.checksum(host, server) == content
        assert guest.ask(f"dd {kept}") == ephemeral
        sizes = guest.ask("blockdev --getsize64 /dev/vdb; blockdev --getsize64 /dev/vdc")
        assert sizes.split() == [str(GIB), str(64 * MIB)]
        assert guest.ask("blkid -o value -s TYPE /dev/vdc").strip() == "swap"
        assert read_drive(drive_path(cloud, host, server)) == drive

    there_and_back(moves, server, ends, look)

    api.delete(server)
    api.wait_gone(server)
    left = api.rest(api.network, "GET", f"/ports/{given['id']}")["port"]
    assert (left["device_id"], left["binding:host_id"]) == ("", "")
    assert api.rest(api.network, "GET", f"/ports?network_id={second}&device_owner=compute:nova")[
        "ports"
    ] == []  # fmt: skip


def facts(api: Api, server: str) -> dict[str, tuple[str, Any]]:
    """What no move may change of the server's ports: id -> MAC and fixed addresses."""
    return {port["id"]: (port["mac_address"], port["fixed_ips"]) for port in api.ports(server)}


# --- pinned CPUs --------------------------------------------------------------------------------
@pytest.fixture
def pinning(cloud: DevCloud, api: Api, node: str, other: str) -> Iterator[dict[str, int]]:
    """Each of both hosts has one CPU to be pinned to, and it is another one: host -> CPU."""
    cpus = {node: 1, other: 0}
    with contextlib.ExitStack() as undo:
        for host, cpu in cpus.items():
            sets = f"[compute]\ncpu_dedicated_set = {cpu}\ncpu_shared_set = {1 - cpu}"
            undo.enter_context(cloud.options(host, sets))
        for host in cpus:
            path = f"/resource_providers/{cloud.provider(host)}/inventories"
            wait_for(f"{host} tells", lambda p=path: "PCPU" in str(api.placement_get(p)), PERIOD_S)
        yield cpus


@pytest.fixture
def pinned_flavor(api: Api, garbage: Any) -> str:
    body = {"name": f"{NAME_PREFIX}.pinned", "ram": 128, "vcpus": 1, "disk": 1}
    flavor = str(api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
    garbage.later(lambda: api.call("DELETE", f"/flavors/{flavor}", ok=False))
    specs = {"extra_specs": {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"}}
    api.call("POST", f"/flavors/{flavor}/os-extra_specs", specs)
    return flavor


@pytest.mark.alone
@THREE_WAYS
def test_a_pinned_server_is_pinned_anew(cloud, api, moves, ends, pinning, pinned_flavor, garbage):
    """To a CPU that its new host has for this. Each host holds that CPU for as long as the server
    may run there, and no longer."""
    old, new = ends
    server = garbage.server(api.request_boot(old, image="tiny-agent", flavor=pinned_flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(old, server)
    held(cloud, pinning, {old})

    def look(host: str) -> None:
        assert recorded(cloud, server) == {0: pinning[host]}
        said = cloud.on(host, "virsh", "-q", "vcpupin", server).split()
        assert said == ["0", str(pinning[host])]
        for kind, pid in threads(cloud, host, server):
            assert affinity(cloud, host, pid) == str(pinning[host]), kind
        assert moves.checksum(host, server) == content
        waits = api.server(server)["status"] == "VERIFY_RESIZE"
        held(cloud, pinning, {old, new} if waits else {host})

    there_and_back(moves, server, ends, look)
    api.delete(server)
    api.wait_gone(server)
    held(cloud, pinning, set())


def recorded(cloud: DevCloud, server: str) -> dict[int, int]:
    """vCPU -> CPU, as Nova's record has it."""
    text = cloud.sql(f"select numa_topology from instance_extra where instance_uuid = '{server}'")
    (cell,) = json.loads(text)["nova_object.data"]["cells"]
    pins = cell["nova_object.data"]["cpu_pinning_raw"]
    return {int(vcpu): cpu for vcpu, cpu in pins.items()}


def held(cloud: DevCloud, pinning: dict[str, int], hosts: set[str]) -> None:
    """See that these hosts, and no others, have given their CPU away."""
    for host, cpu in pinning.items():
        wanted = [cpu] if host in hosts else []
        patience = PERIOD_S if cloud.agent_kind(host) == STOCK else 15
        wait_for(f"{host} holds {wanted}", lambda h=host, w=wanted: pinned(cloud, h) == w, patience)


def pinned(cloud: DevCloud, host: str) -> list[int]:
    """The CPUs that guests are pinned to, as the host tells the scheduler."""
    text = cloud.sql(
        f"select numa_topology from compute_nodes where host = '{host}' and deleted = 0"
    )
    (cell,) = json.loads(text)["nova_object.data"]["cells"]
    return sorted(cell["nova_object.data"]["pinned_cpus"])


def threads(cloud: DevCloud, host: str, server: str) -> list[tuple[str, str]]:
    """(name, id) of the guest's vCPU threads."""
    script = f"""
    pid=$(cat /run/libvirt/qemu/$(virsh domname {server}).pid)
    for task in /proc/$pid/task/*; do echo "${{task##*/}} $(cat $task/comm)"; done"""
    lines = [line.split(maxsplit=1) for line in cloud.on(host, "sh", "-c", script).splitlines()]
    found = [(name, task) for task, name in (line for line in lines if line) if "CPU" in name]
    assert found
    return found


def affinity(cloud: DevCloud, host: str, task: str) -> str:
    return cloud.on(host, "taskset", "-pc", task).rpartition(":")[2].strip()


# --- firmware -----------------------------------------------------------------------------------
def test_what_the_firmware_remembers_travels(cloud, api, moves, node, peer, garbage):
    """The variables of a UEFI guest are the same on its new host, and gone from the old one."""
    image = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2",
        hw_firmware_type="uefi", hw_machine_type="q35", os_shutdown_timeout="1",
    )  # fmt: skip
    garbage.later(lambda: api.delete_image(image))
    server = garbage.server(api.request_boot(node, image=image)["id"])
    api.wait_status(server, "ACTIVE", 180)
    path, new_one = variables(cloud, node, server)
    wait_for("the firmware to remember", lambda: md5(cloud, node, path) != new_one, 120, pause=1.0)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    content = md5(cloud, node, path)

    moves.migrate(server, peer)
    moves.wait_moved(server)
    moves.waits(server, node, peer, running=False)
    assert md5(cloud, peer, path) == content
    moves.revert(server, "SHUTOFF")
    moves.settled(server, node, running=False)
    assert md5(cloud, node, path) == content
    assert md5(cloud, peer, path) == ""

    moves.migrate(server, peer)
    moves.wait_moved(server)
    moves.confirm(server, "SHUTOFF")
    moves.settled(server, peer, running=False)
    assert md5(cloud, peer, path) == content
    assert md5(cloud, node, path) == ""
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)


def variables(cloud: DevCloud, node: str, server: str) -> tuple[str, str]:
    """Where the variables of a guest that runs are, and the checksum of those of a new guest."""
    root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server))
    found = root.find("os/nvram")
    assert found is not None and found.text
    return found.text, md5(cloud, node, found.get("template", ""))


def md5(cloud: DevCloud, node: str, path: str) -> str:
    """Of a file; empty: there is none."""
    return (cloud.on(node, "md5sum", path, check=False).split() or [""])[0]
