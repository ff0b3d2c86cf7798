"""What keeps a running server from going to another host, as each of the two sees it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.errors import (
    ControlPlaneUnavailable,
    CpuIncompatible,
    HypervisorUnavailable,
    InvalidLocalStorage,
    LiveMigrationRefused,
    NovaLiteError,
    ServerBeingDeleted,
    ServerNotFound,
    StorageNotShared,
)
from nova_lite.guest import checks
from nova_lite.guest.naming import strip
from nova_lite.model.states import NOT_ON
from nova_lite.services import (
    definable,
    guest,
    live_disks,
    live_tpm,
    migrate_data,
    moves,
    shares,
)
from nova_lite.services.power_state import power_state
from nova_lite.services.volumes import volume_mappings
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

MIB = 1024**2


@contextmanager
def refusing(work: Work) -> Iterator[None]:
    """What this host cannot do is refused in the way upon which the conductor tries the next one.

    :raises LiveMigrationRefused: it names this host, and why
    """
    waited_for = (ControlPlaneUnavailable, HypervisorUnavailable)
    of_the_server = (ServerBeingDeleted, ServerNotFound, LiveMigrationRefused)
    try:
        yield
    except (*waited_for, *of_the_server):
        raise
    except NovaLiteError as error:
        raise LiveMigrationRefused(f"host {work.tools.host}: {error.message}") from error


# --- the host that is to get the server ---------------------------------------------------------
def refuse_here(work: Work, source: str) -> None:
    """Refuse a guest that this host cannot give what it has.

    :param source: the host that has the server
    :raises NovaLiteError: the message says what it is
    """
    swtpm = work.tools.policy.swtpm
    checks.refuse_features(work.server, swtpm=swtpm)
    definable.refuse(work.server, work.instance, guest.vifs(work), swtpm=swtpm)
    guest.board(work, work.server)  # another architecture
    live_tpm.refuse_here(work, source)
    if power_state(work.tools.hypervisor, work.uuid) not in NOT_ON:
        raise LiveMigrationRefused(
            f"host {work.tools.host}: a guest of server {work.uuid} is on there already; if it is "
            "not in use, remove it with virsh destroy and virsh undefine"
        )


def refuse_cpu(work: Work, source: str) -> None:
    """Refuse a guest whose CPU this host does not have.

    The CPU that the server's record names, as stock keeps it, else that of the host that it is on.
    A guest with a named model ([libvirt]cpu_mode=custom) can be moved to hosts with less than the
    other one has: libvirt compares when it begins.

    :raises CpuIncompatible: the message says what is missing
    """
    conf = work.tools.conf
    if conf.libvirt.virt_type != "kvm" or conf.workarounds.skip_cpu_compare_on_dest:
        return
    asked = work.tools.instances.get(work.context, work.uuid, ("vcpu_model",)).get("vcpu_model")
    if asked is not None and asked.get("model"):
        work.tools.hypervisor.compare_cpu(_recorded(asked))
        return
    if conf.libvirt.cpu_mode == "custom":
        return
    for node in work.tools.nodes.of_host(work.context, source):
        try:
            found: Mapping[str, Any] = json.loads(node.get("cpu_info") or "{}")
        except ValueError:
            raise CpuIncompatible(f"the record of host {source} does not tell its CPU") from None
        work.tools.hypervisor.compare_cpu(found)


def _recorded(model: WireObject) -> dict[str, Any]:
    """A VirtCPUModel in the terms of ComputeNode.cpu_info."""
    sizes = model.get("topology")
    topology = {name: sizes.get(name) for name in ("sockets", "cores", "threads")} if sizes else {}
    features = [
        feature["name"]
        for feature in model.get("features", ())
        if feature.get("policy") not in ("disable", "forbid")
    ]
    return {
        "arch": model.get("arch"), "model": model["model"], "vendor": model.get("vendor"),
        "topology": topology, "features": features,
    }  # fmt: skip


# --- the host that has the server ---------------------------------------------------------------
def refuse_leaving(work: Work) -> None:
    """Refuse a guest that cannot leave this host while it is on.

    :raises LiveMigrationRefused: the message says what it is
    """
    if not work.here:
        raise LiveMigrationRefused(f"server {work.uuid} is not on host {work.tools.host}")
    if power_state(work.tools.hypervisor, work.uuid) in NOT_ON:
        raise LiveMigrationRefused(
            f"the guest of server {work.uuid} is off on host {work.tools.host}; start the server, "
            "or migrate it without live"
        )
    definable.refuse_to_replace(work.tools.hypervisor, work.uuid)
    shared = [str(mapping["share_id"]) for mapping in shares.mappings(work)]
    if shared:
        raise LiveMigrationRefused(
            f"server {work.uuid} has shares ({', '.join(shared)}), which cannot move with a guest "
            "that is on; detach them, or migrate the server while it is off"
        )


def decide_storage(work: Work, data: WireObject, *, same_directory: bool) -> None:
    """Write down whether local disks are shared, and whether they are copied, as stock decides.

    :param same_directory: whether the other host has this one's instances_path
    :raises InvalidLocalStorage, StorageNotShared: it is not as the request says
    :raises LiveMigrationRefused: the other host has no room
    """
    backed = is_volume_backed(work)
    local = live_disks.described(work)
    shared = _is_shared(work, data, same_directory=same_directory) or (backed and not local)
    data.set(
        is_volume_backed=backed,
        is_shared_instance_path=same_directory,
        is_shared_block_storage=shared,
        instance_relative_path=work.uuid,
    )
    if "block_migration" not in data:
        data.set(block_migration=not (shared or same_directory))
    host = work.tools.host
    if not migrate_data.copies_disks(data):
        if not (shared or same_directory):
            raise StorageNotShared(
                host,
                "Shared storage live-migration requires either shared storage or "
                "boot-from-volume with no local disks.",
            )
        return
    if shared or same_directory:
        raise InvalidLocalStorage(host, "Block migration can not be used with shared storage.")
    if "disk_over_commit" in data:
        _require_room(work, data, local)


def is_volume_backed(work: Work) -> bool:
    """Whether the root disk is a volume."""
    root = strip(work.instance.get("root_device_name"))
    for mapping in volume_mappings(work):
        if mapping.get("boot_index") == 0 or strip(mapping.get("device_name")) == root:
            return True
    return not work.server.image.id


def _is_shared(work: Work, data: WireObject, *, same_directory: bool) -> bool:
    """Whether the other host has the disks of this one: in a cluster, or as the same files."""
    disks = work.tools.disks
    if disks.shared:
        return bool(data.get("image_type") == work.tools.conf.libvirt.images_type)
    return same_directory


def _require_room(work: Work, data: WireObject, local: list[dict[str, Any]]) -> None:
    field = "disk_size" if data.get("disk_over_commit") else "virt_disk_size"
    available = int(data.get("disk_available_mb") or 0) * MIB
    needed = sum(int(disk[field]) for disk in local)
    if needed > available:
        raise LiveMigrationRefused(
            f"Unable to migrate {work.uuid}: Disk of instance is too large(available on "
            f"destination host:{available} < need:{needed})"
        )


def refuse_directory(work: Work, data: WireObject) -> None:
    """Refuse what this host has a directory of that nobody can tell the meaning of.

    :raises LiveMigrationRefused: it names the directory
    """
    where = live_disks.foreign_directory(work, data)
    if where is not None:
        raise LiveMigrationRefused(
            f"host {work.tools.host} has files in {Path(where)}, which its agent has not made for "
            "a live migration; if no guest uses them, remove them"
        )


def needs_reading(work: Work) -> bool:
    """Whether the record in the request may be old, or lacks something that is looked at."""
    looked_at = ("flavor", "numa_topology", "system_metadata", "info_cache")
    return moves.is_late(work) or any(field not in work.instance for field in looked_at)
