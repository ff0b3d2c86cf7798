"""Removal of cached images that are unused for long, and of leftovers of killed fetches.

A cached file is in use when it backs a disk below ``instances_path``, whatever host that disk
belongs to: where hosts share the directory, each sees the disks of all. A file in use gets a new
time stamp at every look; one that is not ages, and goes when it is old enough. A file that is
being fetched, or from which a disk is being made, is locked or held (see image_cache).

https://docs.openstack.org/nova/latest/admin/image-caching.html tells how nova-compute does it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova_lite.clock import SYSTEM, Clock
from nova_lite.drivers.disk import backing, durable
from nova_lite.errors import DiskError
from nova_lite.services.image_cache import ImageCache

LOG = logging.getLogger(__name__)

# Seconds after which a download or conversion that nobody works on is not resumed any more.
PARTIAL_S = 3600.0
# Seconds from the use of a file to a disk made of it, on another host of a shared directory.
YOUNGEST_S = 5.0
REGISTRY_S = 10.0  # patience for another host that writes its name
_IMAGE = re.compile(r"[0-9a-f]{40}$")
# nova-compute's older copies of one image, one per size of a root disk; and its swap and ephemeral
# disks, one per size.
_RESIZED = re.compile(r"[0-9a-f]{40}_(sm|\d+)$")
_EMPTY = re.compile(r"(swap_\d+|ephemeral_\d+_[^_.]{7})$")
_PARTIAL = re.compile(r"([0-9a-f]{40}|.*?)(\.(part|download|converted))+$")


class ImageAgeing:
    """Looks after the cache of this host; asks nobody but the file system.

    :param conf: values of nova.conf
    """

    def __init__(self, conf: Any, images: ImageCache, clock: Clock = SYSTEM) -> None:
        self._host = str(conf.host)
        self._options = conf.image_cache
        self._instances = Path(conf.instances_path)
        self._cache = self._instances / self._options.subdirectory_name
        self._images = images
        self._clock = clock

    def run(self) -> None:
        """Age and remove.

        :raises DiskError: a disk cannot be read, so that nobody knows what is in use
        """
        if not self._cache.is_dir():
            return
        self._register()
        try:
            cached = {Path(entry.path): entry.stat().st_mtime
                      for entry in os.scandir(self._cache) if entry.is_file()}  # fmt: skip
            # Read after the list: what has been made of a listed file by now is found in use.
            used = set(self._used())
        except OSError as error:
            raise DiskError(
                f"The image cache is left alone, for {error.filename} cannot be read: "
                f"{error.strerror}"
            ) from error
        for path, last_used in cached.items():
            try:
                self._look_at(path, last_used, path in used)
            except OSError as error:
                LOG.warning("Cannot look after cached image %s: %s", path, error.strerror)

    def _look_at(self, path: Path, last_used: float, used: bool) -> None:
        age = self._clock.time() - last_used
        if partial := _PARTIAL.match(path.name):
            # A fetch that goes on holds the lock of its image.
            if age > PARTIAL_S and self._images.discard(path, partial[1], last_used):
                LOG.info("Removed %s, left of a fetch that was cut off", path)
        elif used:
            os.utime(path)
        elif self._options.remove_unused_base_images and age > self._patience(path.name):
            if self._images.discard(path, path.name, last_used):
                LOG.info("Removed %s from the image cache, unused for %d s", path, age)

    def _patience(self, name: str) -> float:
        """Seconds that an unused file stays; for ever, if it is not Nova's."""
        if _RESIZED.match(name):
            wanted = self._options.remove_unused_resized_minimum_age_seconds
        elif _IMAGE.match(name) or _EMPTY.match(name):
            wanted = self._options.remove_unused_original_minimum_age_seconds
        else:
            return math.inf
        return max(float(wanted), YOUNGEST_S)

    def _register(self) -> None:
        """Register this host for nova-compute hosts that share the directory."""
        path = self._instances / "compute_nodes"
        with self._images.locks.held("storage-registry-lock", REGISTRY_S):
            try:
                hosts = json.loads(path.read_bytes())
            except (FileNotFoundError, ValueError):
                hosts = {}
            with durable.made_whole(path) as part:
                part.write_text(json.dumps({**hosts, self._host: self._clock.time()}))

    def _used(self) -> Iterator[Path]:
        """Cached files that back a disk of any server here; their links end in the cache."""
        apart = {self._cache, self._instances / "locks"}
        for directory, below, names in os.walk(self._instances, onerror=_unless_gone):
            below[:] = [name for name in below if Path(directory, name) not in apart]
            for name in names if directory != str(self._instances) else ():
                base = _backing(Path(directory, name))
                if base is not None:
                    yield Path(os.path.normpath(base))
                    yield self._cache / base.name  # the directory may have had another path


def _backing(path: Path) -> Path | None:
    try:
        return backing.backing_file(path) if path.is_file() else None
    except FileNotFoundError:
        return None  # deleted since it was listed


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
