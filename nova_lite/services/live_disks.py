"""The files of a server that goes to another host while it runs.

QEMU copies what the guest has on its disks; the target makes them before, empty, of the same format
and size, and overlays on the same images. What QEMU does not copy is fetched: a config drive, which
the guest may only read, and a kernel or ramdisk whose image is gone. In place of a config drive
nova-compute makes an empty file, and so the source sends it there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import durable, info, inspect, qemu_img, space
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import (
    DestinationDiskExists,
    DiskError,
    ImageNotAuthorized,
    ImageNotFound,
    LiveMigrationRefused,
)
from nova_lite.services import (
    arrivals,
    arrived_disks,
    guest,
    live_moves,
    migrate_data,
    moved_disks,
    shared_storage,
)
from nova_lite.services.disk_files import (
    CONFIG_DRIVE,
    KERNEL,
    RAMDISK,
    directory,
    make_config_drive,
    remove_directory,
    remove_rest,
)
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

FORMATS = ("raw", "qcow2")


# --- the host that has the server ---------------------------------------------------------------
def described(work: Work) -> list[dict[str, Any]]:
    """The local disks of a guest that runs here, in the form in which stock tells of them
    (``disk`` of pre_live_migration); none in a cluster, which every host reaches.

    :raises DiskError: one is not there
    """
    if work.tools.disks.shared:
        return []
    names = [str(disk.name) for disk in guest.disk_plan(work).local]
    for path in (directory(work) / name for name in names):
        if not path.exists():
            raise DiskError(f"Disk {path} of server {work.uuid} is not on host {work.tools.host}")
    return moved_disks.described_in_use(work, names)


def may_send_drive(work: Work) -> bool:
    """Whether the server has a config drive that the other host does not reach.

    For the plan, which asks nobody: whether QEMU copies it ``send_drive`` finds out.
    """
    copied = migrate_data.copies_disks(live_moves.data(work))
    return copied and not work.tools.disks.shared and guest.has_config_drive(work)


def send_drive(work: Work) -> None:
    """Copy the config drive to the other host, once that is prepared, unless it has fetched it or
    QEMU copies it with the other disks.

    :raises TransferCancelled: ``Work.cancelled`` was set
    """
    if any(disk.name == CONFIG_DRIVE for disk in live_moves.copied_disks(work)):
        return
    target = live_moves.target(work)
    if shared_storage.has_file(work, target, arrivals.MARK):
        return  # this agent's mark: it has fetched what it needs
    path, remote = directory(work) / CONFIG_DRIVE, work.tools.remote_files(target, target)
    remote.send(path, str(path), cancelled=work.cancelled, progress=lambda sent, total: None)


# --- the host that is to get it -----------------------------------------------------------------
def foreign_directory(work: Work, data: WireObject) -> Path | None:
    """The server's directory, where it is neither shared nor made for a live migration."""
    where = directory(work)
    if migrate_data.shares_directory(data) or not where.exists():
        return None
    empty = where.is_dir() and not any(where.iterdir())
    return None if empty or arrivals.marked(where) is not None else where


def make(work: Work, data: WireObject, migration: WireObject) -> None:
    """Make the server's files on this host, as far as they are not shared; may be repeated.

    :raises DestinationDiskExists: somebody else's are there
    """
    if migrate_data.shares_directory(data):
        return
    where = directory(work)
    foreign = foreign_directory(work, data)
    if foreign is not None:
        raise DestinationDiskExists(str(foreign))
    found = arrivals.marked(where)
    if found is not None and found.migration != str(migration["uuid"]):
        LOG.info("What an earlier live migration of server %s has left in %s is removed",
                 work.uuid, where)  # fmt: skip
        remove_directory(work)
    arrivals.mark(work, migration)
    source = str(migration["source_compute"])
    if not migrate_data.shares_disks(data):
        for disk in _told(work):
            _make(work, where, disk, source)
    _boot_files(work, source)
    _config_drive(work, source)


def remove(work: Work) -> None:
    """Remove the files that were made for a live migration, and nothing else."""
    where = directory(work)
    if arrivals.marked(where) is not None:
        remove_directory(work)
    else:
        remove_rest(where)  # of a removal that was cut off: the mark went with the name


def _told(work: Work) -> list[Mapping[str, Any]]:
    """The disks that the other host has told of.

    :raises LiveMigrationRefused: not in the form that all agents use
    """
    text = work.arguments.get("disk")
    try:
        found = json.loads(text or "[]")
        for disk in found:
            int(disk["virt_disk_size"]), disk["type"], Path(disk["path"]).name
        return list(found)
    except (ValueError, TypeError, KeyError):
        raise LiveMigrationRefused(
            f"what the other host says of the disks of server {work.uuid} cannot be read"
        ) from None


def _make(work: Work, where: Path, disk: Mapping[str, Any], source: str) -> None:
    path = where / Path(str(disk["path"])).name
    if path.name == CONFIG_DRIVE or path.exists():
        return
    kind, size = str(disk["type"]), int(disk["virt_disk_size"])
    if kind not in FORMATS:
        raise DiskError(f"{path} would be of format {kind}; this host makes raw and qcow2 disks")
    named = Path(str(disk.get("backing_file") or "")).name
    images = work.tools.images
    conf = work.tools.conf
    cache = Path(conf.instances_path) / conf.image_cache.subdirectory_name
    base = cache / named if named else None
    with images.held(*([base] if base else [])):
        if base is not None and not base.exists():
            arrived_disks.get_base(work, base, source)
        with space.reported(path, 0):
            info.record(path, kind)
            with durable.made_whole(path) as part:
                _write(part, kind, size, base)


def _write(part: Path, kind: str, size: int, base: Path | None) -> None:
    if kind == "raw":
        with open(part, "xb") as file:
            file.truncate(size)
    elif base is None:
        qemu_img.create(part, size)
    else:
        found = inspect.base(base)
        qemu_img.create(part, size, backing=base, backing_format=found.format,
                        cluster_size=found.cluster_bytes)  # fmt: skip


def _boot_files(work: Work, source: str) -> None:
    server, disks, images = work.server, work.tools.disks, work.tools.images
    where = directory(work)
    for name, image_id in ((KERNEL, server.kernel_id), (RAMDISK, server.ramdisk_id)):
        if not image_id or disks.exists(where, name):
            continue
        try:
            disks.create(where, LocalDisk(name, 0, images.fetch_as_is(work.context, image_id)))
        except (ImageNotFound, ImageNotAuthorized) as error:
            LOG.info("%s; it is copied from host %s", error, source)
            _fetch(work, where / name, source)


def _config_drive(work: Work, source: str) -> None:
    """The guest has it open: its content has to be the same. Only what is on no disk of the other
    host, as in a cluster of its own, is made anew."""
    where, disks = directory(work), work.tools.disks
    if not guest.has_config_drive(work) or disks.exists(where, CONFIG_DRIVE):
        return
    if disks.shared:
        make_config_drive(work, CONFIG_DRIVE)
        return
    _fetch(work, where / CONFIG_DRIVE, source)


def _fetch(work: Work, path: Path, source: str) -> None:
    """Copy a file of the other host, which has the same instances_path."""
    with space.reported(path):
        work.tools.remote_files(source, source).fetch(str(path), path)
