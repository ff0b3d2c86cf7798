"""The disks of a server that has come from another host, made what they are to be here."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from nova_lite.drivers.disk import backing, durable, info, inspect, qemu_img, space
from nova_lite.errors import DiskError, ImageNotFound
from nova_lite.services import moves
from nova_lite.services.disk_files import CONFIG_DRIVE, directory
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.notes import MoveNotes
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)

CONVERTED = ".qcow2"  # behind the name of a disk: its content in the other format


def fetch_base(work: Work, name: str) -> None:
    """Get the file that a disk is based on, where the cache does not have it.

    That is the server's image or, where stock has made the disk, the file system of an ephemeral
    one. What the image service does not have is copied from the host that the server was on: a
    file system made anew would be another one than the disk was made on.

    :raises DiskError: neither has it, it is no file of the cache, or it is cached in another format
        than the disk was made on
    """
    path = directory(work) / name
    try:
        named = backing.backing_file(path)
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error
    if named is None:
        return
    kind = qemu_img.info(path).get("backing-filename-format") or "raw"
    if not named.exists():
        source = str(moves.migration(work)["source_compute"])
        get_base(work, named, source, raw=kind == "raw")
    if inspect.base(named).format != kind:
        raise DiskError(
            f"Disk {path} was made on {named} as {kind}, and host {work.tools.host} has that in "
            "another format: set force_raw_images to the same value on all hosts"
        )


def get_base(work: Work, base: Path, source: str, *, raw: bool | None = None) -> None:
    """Get a file of the cache that a disk is based on, from the image service or from the host that
    has the disk.

    :param source: that host
    :param raw: the format in which an image is kept; None: as nova.conf has it
    :raises DiskError: neither has it
    """
    images, image_id = work.tools.images, work.server.image.id
    if image_id and images.path(image_id) == base:
        refuse_certificates(work)
        try:
            images.fetch(work.context, images.show(work.context, image_id), raw=raw)
            return
        except ImageNotFound:
            LOG.info("Image %s of server %s is gone", image_id, work.uuid)
    images.copied(base, lambda: work.tools.remote_files(source, source).fetch(str(base), base))


def store_as_usual(work: Work, name: str) -> None:
    """Convert a raw disk on a host that has qcow2 disks.

    Stock takes all disks of such a host for qcow2, and would believe what the guest of a raw one
    has written to its beginning. The record of formats follows when the disk has its name; the
    journal tells in between which of the two it is.
    """
    where = directory(work)
    path, made = where / name, where / f"{name}{CONVERTED}"
    disks = work.tools.disks
    if disks.shared or disks.format != "qcow2" or name == CONFIG_DRIVE:
        return
    if disks.source(where, name).format != "raw":
        return
    done = list(MoveNotes.of(work.notes).converting)
    with space.reported(path):
        if name not in done:
            LOG.info("Converting %s to qcow2", path)
            with durable.made_whole(made) as part:
                qemu_img.convert(path, part, "raw", "qcow2")
            work.note(converting=[*done, name])
        if made.exists():
            os.rename(made, path)
            durable.sync(where)
        info.record(path, "qcow2")


def missing(work: Work, name: str) -> DiskError:
    """The error of a disk that has not come."""
    path: Path = directory(work) / name
    return DiskError(
        f"Disk {path} has not come to host {work.tools.host}; the host that the server was on "
        "keeps it"
    )
