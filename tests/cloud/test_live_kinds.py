"""Live migrations of servers that are more than one disk and one port.

Volumes of every kind, several ports, local disks beside the root disk, pinned CPUs and UEFI
firmware: between two hosts with nova-lite, and from and to one with nova-compute. Nothing that the
guest sees changes, and what its next start makes of it is its new host's.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import STOCK, DevCloud, wait_for
from tests.cloud.support.firmware import md5, remembers, skip_without_uefi, uefi_image
from tests.cloud.support.first_boot import drive_path, read_drive
from tests.cloud.support.guest import Guest, boot_with_agent
from tests.cloud.support.ledgers import used_by, volume_ledgers
from tests.cloud.support.live import boot_id, sending, went_live
from tests.cloud.support.moves import SECONDS, THREE_WAYS
from tests.cloud.support.networks import boot_guests, port_facts, soon
from tests.cloud.support.pinning import PINNED, pinning
from tests.cloud.support.volumes import Volumes, disk

__all__ = ["pinning"]

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.timeout(1800)]

GIB, MIB = 1024**3, 1024**2
# What libvirt calls a guest that runs because it has come, and was not booted since.
MIGRATED = "running (migrated)"


@pytest.fixture(scope="module", autouse=True)
def alike(cloud: DevCloud, other: str) -> Iterator[None]:
    """Both hosts send to each other."""
    with sending(cloud, other):
        yield


def soft_reboot(cloud: DevCloud, api: Api, host: str, server: str) -> None:
    """The guest powers itself off, and its host starts it by the definition that is there."""
    api.act(server, "reboot", {"type": "SOFT"})
    api.wait_status(server, "ACTIVE", SECONDS)
    assert cloud.on(host, "virsh", "domstate", "--reason", server).strip() != MIGRATED


# --- volumes ------------------------------------------------------------------------------------
@THREE_WAYS
def test_a_server_that_has_volumes_only(cloud, api, moves, ends, garbage):
    """It boots from one, and writes all the time to one that is encrypted; a third one it shares
    with a server that stays. The host that it has left has none of them, and no key."""
    old, new = ends
    volumes = Volumes(api, garbage.later)
    root = volumes.create("ceph", imageRef=api.image_id("tiny-agent"))
    secret, shared = (volumes.create(kind) for kind in ("encrypted", "multiattach"))
    stays = boot_with_agent(api, old, garbage)["id"]
    disks = [disk("volume", uuid=root, boot_index=0), disk("volume", uuid=secret),
             disk("volume", uuid=shared)]  # fmt: skip
    made = api.request_boot(old, imageRef="", block_device_mapping_v2=disks)
    server = garbage.server(made["id"])
    api.wait_status(server, "ACTIVE", 300)
    volumes.attach(stays, shared)
    before = Guest(cloud, old, server)
    content = {volume: before.mark(volume) for volume in (secret, shared)}
    on_root, running = moves.mark(old, server), boot_id(cloud, old, server)
    before.keep_writing(secret)

    went_live(cloud, moves, server, new, running)

    guest = Guest(cloud, new, server)
    guest.writes_on()
    assert moves.checksum(new, server) == on_root
    assert {volume: guest.checksum(volume) for volume in (secret, shared)} == content
    for volume in (root, secret):
        assert volume_ledgers(cloud, api, new, volume) == used_by(server)
        assert volume_ledgers(cloud, api, old, volume).defined == ()
    both = tuple(sorted((server, stays)))
    found = volume_ledgers(cloud, api, new, shared)
    assert (found.attachments, found.mapped, found.watchers) == (both, both, 2)
    assert (found.plugged, found.defined) == ((server,), (server,))
    assert volume_ledgers(cloud, api, old, shared).plugged == (stays,)
    assert secret in cloud.on(new, "virsh", "secret-list")
    assert secret not in cloud.on(old, "virsh", "secret-list")
    assert guest.mark(shared) == Guest(cloud, old, stays).checksum(shared)

    soft_reboot(cloud, api, new, server)
    assert guest.checksum(secret) == content[secret]
    for volume in (secret, shared):
        volumes.detach(server, volume)
    volumes.wait(secret, "available", 0)
    volumes.wait(shared, "in-use", 1)
    assert secret not in cloud.on(new, "virsh", "secret-list")


@pytest.fixture
def limits(api, garbage):
    """The name of a volume type of one's own, and what sets its limits (operations a second)."""
    volumes, name = Volumes(api, garbage.later), f"{NAME_PREFIX}-{uuid4().hex[:8]}"
    body = {"name": name, "consumer": "front-end", "total_iops_sec": "300"}
    specs = volumes.request("POST", "/qos-specs", {"qos_specs": body})["qos_specs"]["id"]
    garbage.later(lambda: volumes.request("DELETE", f"/qos-specs/{specs}?force=True"))
    body = {"name": name, "extra_specs": {"volume_backend_name": "ceph"}}
    made = volumes.request("POST", "/types", {"volume_type": body})["volume_type"]["id"]
    garbage.later(lambda: volumes.request("DELETE", f"/types/{made}"))
    volumes.request("GET", f"/qos-specs/{specs}/associate?vol_type_id={made}")

    def limit(operations: int) -> None:
        body = {"qos_specs": {"total_iops_sec": str(operations)}}
        volumes.request("PUT", f"/qos-specs/{specs}", body)

    return name, limit


@THREE_WAYS
def test_limits_that_have_changed_since(cloud, api, moves, ends, limits, garbage):
    """The new host asks Cinder for the volume anew: they are what Cinder says now, now and when the
    guest starts the next time."""
    old, new = ends
    kind, limit = limits
    volumes = Volumes(api, garbage.later)
    server = boot_with_agent(api, old, garbage)["id"]
    volume = volumes.create(kind)
    device = volumes.attach(server, volume).removeprefix("/dev/")
    running = boot_id(cloud, old, server)
    assert allowed(cloud, old, server, device, "--live") == 300
    limit(200)

    went_live(cloud, moves, server, new, running)

    assert allowed(cloud, new, server, device, "--live") == 200
    soft_reboot(cloud, api, new, server)
    assert allowed(cloud, new, server, device, "--live") == 200


def allowed(cloud: DevCloud, host: str, server: str, device: str, when: str) -> int:
    """Operations a second of a disk."""
    said = cloud.on(host, "virsh", "-q", "blkdeviotune", server, device, when)
    found = dict(line.split(":") for line in said.replace(" ", "").splitlines() if ":" in line)
    return int(found["total_iops_sec"])


# --- ports and local disks ----------------------------------------------------------------------
FIRST, SECOND = "10.93.11", "10.93.12"
FIXED, PAIR = f"{FIRST}.77", f"{FIRST}.99"
KEPT = "skip=15000 bs=64k count=16 if=/dev/vdb 2>/dev/null | md5sum"
NOISE = "if=/dev/urandom of=/dev/vdb seek=15000 bs=64k count=16 2>/dev/null"


@THREE_WAYS
def test_a_server_with_ports_and_local_disks(
    cloud, api, neutron, moves, ends, garbage, disk_flavor
):
    """Two networks; one port is the user's, with an address of his choice and another one that it
    may have. Ephemeral disk, swap and config drive, of which QEMU copies what can be written."""
    old, new = ends
    networks = [neutron.network(f"{part}.0/24") for part in (FIRST, SECOND)]
    given = neutron.port(
        networks[0], fixed_ips=[{"ip_address": FIXED}],
        allowed_address_pairs=[{"ip_address": PAIR}],
    )  # fmt: skip
    (peer,) = boot_guests(
        api, cloud, garbage, {old: [neutron.port(network) for network in networks]}
    )
    server = boot_with_agent(
        api, old, garbage, flavor=disk_flavor, config_drive=True,
        networks=[{"port": given["id"]}, {"uuid": networks[1]}],
    )["id"]  # fmt: skip
    ports = port_facts(api, server)
    assert len(ports) == 2 and given["id"] in ports
    before = Guest(cloud, old, server)
    mac, _ = ports[given["id"]]
    device = f"$(grep -l {mac} /sys/class/net/*/address | cut -d/ -f5)"
    before.ask(f"ip addr add {PAIR}/24 dev {device} && echo added")
    addresses = [FIXED, PAIR, *(ip["ip_address"] for port, (_, ips) in ports.items()
                                if port != given["id"] for ip in ips)]  # fmt: skip
    for address in addresses:
        soon(f"an answer of {address}", lambda a=address: peer.pings(a))
    content, running = moves.mark(old, server), boot_id(cloud, old, server)
    ephemeral = before.ask(f"dd {NOISE}; sync; dd {KEPT}")
    swap = before.ask("blkid /dev/vdc")
    drive = read_drive(drive_path(cloud, old, server))

    went_live(cloud, moves, server, new, running)

    for address in addresses:
        soon(f"an answer of {address}", lambda a=address: peer.pings(a))
    assert port_facts(api, server) == ports
    (pairs,) = (p["allowed_address_pairs"] for p in api.ports(server) if p["id"] == given["id"])
    assert [pair["ip_address"] for pair in pairs] == [PAIR]
    guest = Guest(cloud, new, server)
    assert moves.checksum(new, server) == content
    assert guest.ask(f"echo 3 >/proc/sys/vm/drop_caches; dd {KEPT}") == ephemeral
    assert guest.ask("echo 3 >/proc/sys/vm/drop_caches; blkid /dev/vdc") == swap
    sizes = guest.ask("for d in a b c; do blockdev --getsize64 /dev/vd$d; done").split()
    has = moves.sizes(server)
    assert sizes == [str(has["disk"] * GIB), str(GIB), str(has["swap"] * MIB)]
    assert read_drive(drive_path(cloud, new, server)) == drive

    soft_reboot(cloud, api, new, server)
    assert moves.checksum(new, server) == content
    assert guest.ask(f"dd {KEPT}") == ephemeral
    soon(f"an answer of {FIXED}", lambda: peer.pings(FIXED))


# --- pinned CPUs --------------------------------------------------------------------------------
# Its NUMA node is told in full, as users do who want more than one.
EXPLICIT = {**PINNED, "hw:numa_cpus.0": "0", "hw:numa_mem.0": "128"}


@THREE_WAYS
def test_a_pinned_server_is_pinned_anew(cloud, api, moves, ends, pinning, garbage):
    """To a CPU that its new host has for this, now and when it starts the next time; the old host
    gives its own one to others."""
    old, new = ends
    flavor = moves.flavor(garbage.later, specs=EXPLICIT)
    server = boot_with_agent(api, old, garbage, flavor=flavor)["id"]
    assert pinning.is_pinned(old, server)
    pinning.held(old)
    content, running = moves.mark(old, server), boot_id(cloud, old, server)

    went_live(cloud, moves, server, new, running)

    assert pinning.is_pinned(new, server)
    pinning.held(new)
    assert api.allocations(server)[cloud.provider(new)]["resources"]["PCPU"] == 1
    assert moves.checksum(new, server) == content
    soft_reboot(cloud, api, new, server)
    assert pinning.is_pinned(new, server)
    api.delete(server)
    api.wait_gone(server)
    pinning.held()


# --- firmware -----------------------------------------------------------------------------------
@THREE_WAYS
def test_a_server_with_uefi_firmware(cloud, api, moves, ends, garbage):
    """Its variables come along, and are gone from the host that it has left."""
    old, new = ends
    for host in ends:
        if cloud.agent_kind(host) == STOCK:
            skip_without_uefi(cloud, host)
    image = uefi_image(api, garbage.later)
    server = garbage.server(api.request_boot(old, image=image)["id"])
    api.wait_status(server, "ACTIVE", 180)
    path = remembers(cloud, old, server)
    content = quiet(cloud, old, path)

    moves.live(server, new)
    moves.wait_live(server)

    moves.settled(server, new)
    assert cloud.on(new, "virsh", "domstate", "--reason", server).strip() == MIGRATED
    assert quiet(cloud, new, remembers(cloud, new, server)) == content
    if cloud.agent_kind(old) != STOCK:  # which leaves the file
        assert md5(cloud, old, path) == ""
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    assert md5(cloud, new, path) == content
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    remembers(cloud, new, server)


def quiet(cloud: DevCloud, host: str, path: str) -> str:
    """The checksum of a file, once nobody writes to it."""
    seen: list[str] = []

    def look() -> bool:
        seen.append(md5(cloud, host, path))
        return len(seen) > 2 and len(set(seen[-3:])) == 1

    wait_for(f"an end of writing to {path}", look, 120, pause=2.0)
    return seen[-1]
