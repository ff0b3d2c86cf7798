"""Cold moves of servers that are more than one disk and one port, there, back and there again.

Volumes of every kind, several ports, local disks beside the root disk, pinned CPUs and UEFI
firmware: between two hosts with nova-lite, with their flavor or another one, and from and to one
with nova-compute.
"""

from __future__ import annotations

import pytest

from tests.cloud.support.devcloud import LITE, STOCK, wait_for
from tests.cloud.support.firmware import md5, remembers, skip_without_uefi, uefi_image
from tests.cloud.support.first_boot import drive_path, read_drive
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import used_by, volume_ledgers
from tests.cloud.support.moves import FOUR_WAYS, THREE_WAYS
from tests.cloud.support.networks import port_facts
from tests.cloud.support.pinning import PINNED, pinning
from tests.cloud.support.volumes import Volumes, disk

__all__ = ["pinning"]

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1800)]

GIB, MIB = 1024**3, 1024**2


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
    ports = port_facts(api, server)
    assert len(ports) == 2 and given["id"] in ports
    content = moves.mark(old, server)
    kept = "skip=15000 bs=64k count=16 if=/dev/vdb 2>/dev/null | md5sum"
    noise = "if=/dev/urandom of=/dev/vdb seek=15000 bs=64k count=16 2>/dev/null"
    ephemeral = Guest(cloud, old, server).ask(f"dd {noise}; sync; dd {kept}")
    drive = read_drive(drive_path(cloud, old, server))

    def look(host: str) -> None:
        guest = Guest(cloud, host, server)
        assert port_facts(api, server) == ports
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


# --- pinned CPUs --------------------------------------------------------------------------------
@THREE_WAYS
def test_a_pinned_server_is_pinned_anew(cloud, api, moves, ends, pinning, garbage):
    """To a CPU that its new host has for this. Each host holds that CPU for as long as the server
    may run there, and no longer."""
    old, new = ends
    flavor = moves.flavor(garbage.later, specs=PINNED)
    server = garbage.server(api.request_boot(old, image="tiny-agent", flavor=flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(old, server)
    pinning.held(old)

    def look(host: str) -> None:
        assert pinning.is_pinned(host, server)
        assert moves.checksum(host, server) == content
        waits = api.server(server)["status"] == "VERIFY_RESIZE"
        pinning.held(*((old, new) if waits else (host,)))

    moves.there_and_back(server, ends, look)
    api.delete(server)
    api.wait_gone(server)
    pinning.held()


@pytest.mark.parametrize(("other", "ends"), [(LITE, "there")], indirect=True, scope="module")
def test_a_server_is_pinned_by_its_flavor(cloud, api, moves, ends, pinning, garbage):
    """And not any more by the next one; a revert makes it what it was."""
    old, new = ends
    server = garbage.server(api.request_boot(old, image="tiny-agent")["id"])
    api.wait_status(server, "ACTIVE", 180)
    content = moves.mark(old, server)

    def look(host: str) -> None:
        assert pinning.is_pinned(host, server) == (host == new)
        assert moves.checksum(host, server) == content
        waits = api.server(server)["status"] == "VERIFY_RESIZE"
        pinning.held(*((new,) if waits or host == new else ()))

    flavor = moves.flavor(garbage.later, new, PINNED, ram=192)
    moves.there_and_back(server, ends, look, flavor)
    moves.there_and_back(server, ends[::-1], look, moves.flavor(garbage.later, old))
    pinning.held()


# --- firmware -----------------------------------------------------------------------------------
@FOUR_WAYS
def test_a_server_with_uefi_firmware(cloud, api, moves, ends, resized, garbage):
    """Its variables are the same on its new host, and gone from the old one. nova-compute does not
    send them, nor takes them in: the firmware begins anew then, but a revert brings them back."""
    old, new = ends
    stock = [host for host in ends if cloud.agent_kind(host) == STOCK]
    for host in stock:
        skip_without_uefi(cloud, host)
    image = uefi_image(api, garbage.later)
    server = garbage.server(api.request_boot(old, image=image)["id"])
    api.wait_status(server, "ACTIVE", 180)
    path = remembers(cloud, old, server)
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
    remembers(cloud, new, server)
