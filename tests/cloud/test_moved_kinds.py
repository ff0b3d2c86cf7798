"""Cold moves of servers that are more than one disk and one port, there, back and there again.

Volumes of every kind, several ports, local disks beside the root disk, pinned CPUs and UEFI
firmware: between two hosts with nova-lite, with their flavor or another one, and from and to one
with nova-compute.
"""

from __future__ import annotations

import contextlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import LITE, STOCK, CloudError, DevCloud, wait_for
from tests.cloud.support.first_boot import drive_path, read_drive
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import used_by, volume_ledgers
from tests.cloud.support.moves import FOUR_WAYS, THREE_WAYS
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1800)]

GIB, MIB = 1024**3, 1024**2
PERIOD_S = 90  # nova-compute tells what it has free once a minute


def disk(source: str, **more: Any) -> dict[str, Any]:
    """An entry of block_device_mapping_v2."""
    return {"source_type": source, "destination_type": "volume", "boot_index": -1, **more}


# --- volumes ------------------------------------------------------------------------------------
@FOUR_WAYS
def test_a_server_that_has_volumes_only(cloud, api, moves, ends, resized, garbage):
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
        assert moves.vcpus(host, server) == moves.sizes(server)["vcpus"]
        both = tuple(sorted((server, stays)))
        found = volume_ledgers(cloud, api, host, shared)
        assert (found.attachments, found.mapped, found.watchers) == (both, both, 2)
        assert server in found.plugged and server in found.defined
        guest = Guest(cloud, host, server)
        assert moves.checksum(host, server) == content[root]
        for volume in (data, secret, shared):
            assert guest.checksum(volume) == content[volume]

    flavor = moves.flavor(garbage.later, new, vcpus=2, disk=2) if resized else None
    moves.there_and_back(server, ends, look, flavor)

    assert secret in cloud.on(new, "virsh", "secret-list")
    assert secret not in cloud.on(old, "virsh", "secret-list")
    assert shared in cloud.on(old, "virsh", "dumpxml", stays)
    for volume in (data, secret, shared):
        volumes.detach(server, volume)
    volumes.wait(data, "available", 0)
    volumes.wait(shared, "in-use", 1)


# --- ports and local disks ----------------------------------------------------------------------
@FOUR_WAYS
def test_a_server_with_ports_and_local_disks(
    cloud, api, neutron, moves, ends, resized, garbage, disk_flavor
):
    """Two networks, one port of the user's; ephemeral disk, swap and config drive. The root disk
    grows with the flavor; swap may be less, or none; an ephemeral disk has the size that the server
    was made with, as in stock, whatever the flavor says."""
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
        has = moves.sizes(server)
        seen = guest.ask("for d in a b c; do blockdev --getsize64 /dev/vd$d 2>/dev/null; done")
        sizes = [has["disk"] * GIB, GIB, has["swap"] * MIB]
        assert seen.split() == [str(size) for size in sizes if size]
        swap = guest.ask("blkid -o value -s TYPE /dev/vdc; echo end").split()
        assert swap == (["swap", "end"] if has["swap"] else ["end"])
        assert read_drive(drive_path(cloud, host, server)) == drive

    if resized:
        for gib, swap, way in ((2, 128, ends), (1, 32, ends[::-1]), (1, 0, ends)):
            flavor = moves.flavor(garbage.later, way[1], disk=2, ephemeral=gib, swap=swap)
            moves.there_and_back(server, way, look, flavor)
    else:
        moves.there_and_back(server, ends, look)

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


PINNED = {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"}


@THREE_WAYS
def test_a_pinned_server_is_pinned_anew(cloud, api, moves, ends, pinning, garbage):
    """To a CPU that its new host has for this. Each host holds that CPU for as long as the server
    may run there, and no longer."""
    old, new = ends
    flavor = moves.flavor(garbage.later, specs=PINNED)
    server = garbage.server(api.request_boot(old, image="tiny-agent", flavor=flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(old, server)
    held(cloud, pinning, {old})

    def look(host: str) -> None:
        assert is_pinned(cloud, pinning, host, server)
        assert moves.checksum(host, server) == content
        waits = api.server(server)["status"] == "VERIFY_RESIZE"
        held(cloud, pinning, {old, new} if waits else {host})

    moves.there_and_back(server, ends, look)
    api.delete(server)
    api.wait_gone(server)
    held(cloud, pinning, set())


@pytest.mark.parametrize(("other", "ends"), [(LITE, "there")], indirect=True, scope="module")
def test_a_server_is_pinned_by_its_flavor(cloud, api, moves, ends, pinning, garbage):
    """And not any more by the next one; a revert makes it what it was."""
    old, new = ends
    server = garbage.server(api.request_boot(old, image="tiny-agent")["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(old, server)

    def look(host: str) -> None:
        assert is_pinned(cloud, pinning, host, server) == (host == new)
        assert moves.checksum(host, server) == content
        waits = api.server(server)["status"] == "VERIFY_RESIZE"
        held(cloud, pinning, {new} if waits or host == new else set())

    flavor = moves.flavor(garbage.later, new, PINNED, ram=192)
    moves.there_and_back(server, ends, look, flavor)
    moves.there_and_back(server, ends[::-1], look, moves.flavor(garbage.later, old))
    held(cloud, pinning, set())


def is_pinned(cloud: DevCloud, pinning: dict[str, int], host: str, server: str) -> bool:
    """Whether it is pinned to the CPU that its host has for this, or to none; record, definition
    and threads agree."""
    pins = recorded(cloud, server)
    cpu = pinning[host] if pins else 1 - pinning[host]
    assert pins in ({}, {0: cpu})
    assert cloud.on(host, "virsh", "-q", "vcpupin", server).split() == ["0", str(cpu)]
    for kind, pid in threads(cloud, host, server):
        assert affinity(cloud, host, pid) == str(cpu), kind
    return bool(pins)


def recorded(cloud: DevCloud, server: str) -> dict[int, int]:
    """vCPU -> CPU, as Nova's record has it; empty: it is not pinned."""
    text = cloud.sql(f"select numa_topology from instance_extra where instance_uuid = '{server}'")
    if text.strip() == "NULL":
        return {}
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
@FOUR_WAYS
def test_a_server_with_uefi_firmware(cloud, api, moves, ends, resized, garbage):
    """Its variables are the same on its new host, and gone from the old one. nova-compute does not
    send them, nor takes them in: the firmware begins anew then, but a revert brings them back."""
    old, new = ends
    stock = [host for host in ends if cloud.agent_kind(host) == STOCK]
    for host in stock:
        skip_without_uefi(cloud, host)
    image = api.upload_image(
        cloud.state / "images" / "tiny-fast.qcow2", "qcow2",
        hw_firmware_type="uefi", hw_machine_type="q35", os_shutdown_timeout="1",
    )  # fmt: skip
    garbage.later(lambda: api.delete_image(image))
    server = garbage.server(api.request_boot(old, image=image)["id"])
    api.wait_status(server, "ACTIVE", 180)
    path, new_one = variables(cloud, old, server)
    wait_for("the firmware to remember", lambda: md5(cloud, old, path) != new_one, 120, pause=1.0)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    content = md5(cloud, old, path)

    def look(host: str) -> None:
        if host == old or not stock:
            assert md5(cloud, host, path) == content
        if api.server(server)["status"] != "VERIFY_RESIZE":
            (left,) = {old, new} - {host}
            assert md5(cloud, left, path) == ""

    flavor = moves.flavor(garbage.later, new, vcpus=2) if resized else None
    moves.there_and_back(server, ends, look, flavor, "SHUTOFF")

    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    found, new_one = variables(cloud, new, server)
    wait_for("firmware that runs", lambda: md5(cloud, new, found) != new_one, 120, pause=1.0)


def skip_without_uefi(cloud: DevCloud, host: str) -> None:
    """Skip where libvirt refuses what nova-compute 2026.2 says of every guest with UEFI."""
    name = f"{NAME_PREFIX}-uefi"
    guest = (
        f"<domain type='qemu'><name>{name}</name><memory>65536</memory><os firmware='efi'>"
        "<type arch='x86_64' machine='q35'>hvm</type><loader secure='no'/></os>"
        "<features><acpi/></features></domain>"
    )
    try:
        cloud.on(host, "sh", "-c", f'echo "{guest}" | virsh define /dev/stdin')
    except CloudError as error:
        if "firmware autoselection" not in str(error):
            raise
        reason = str(error).rpartition("error: ")[2]
        pytest.skip(f"nova-compute on {host} can have no guest with UEFI: {reason}")
    cloud.on(host, "virsh", "undefine", "--nvram", name)


def variables(cloud: DevCloud, node: str, server: str) -> tuple[str, str]:
    """Where the variables of a guest that runs are, and the checksum of those of a new guest."""
    root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server))
    found = root.find("os/nvram")
    assert found is not None and found.text
    return found.text, md5(cloud, node, found.get("template", ""))


def md5(cloud: DevCloud, node: str, path: str) -> str:
    """Of a file; empty: there is none."""
    return (cloud.on(node, "md5sum", path, check=False).split() or [""])[0]
