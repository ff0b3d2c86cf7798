"""The image cache: one file per image below ``instances_path``, as nova-compute lays it out.

``<sha1 of the image id>`` is complete; everything else is not. A killed agent leaves
``<sha1>.download.part`` (replaced by the next fetch), ``<sha1>.download`` (verified, used by the
next fetch) or ``<sha1>.part`` (a conversion, replaced). See nova's virt/libvirt/imagecache.py and
virt/images.py for the layout.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import backing, durable, inspect, qemu_img, space
from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.disk.process import Limits
from nova_lite.drivers.image.base import ImageSource
from nova_lite.errors import (
    DiskError,
    FlavorDiskTooSmall,
    ImageNotFound,
    ImageUnacceptable,
    ImageUnavailable,
)
from nova_lite.model.server import Image

LOG = logging.getLogger(__name__)

_WAIT_S = 3600.0
_MODE = 0o644
BOOT_FORMATS = ("aki", "ari")  # kernels and ramdisks


class ImageCache:
    """Fetches every image once, however many servers start from it at the same time."""

    def __init__(
        self,
        base_dir: Path,
        source: ImageSource,
        *,
        lock_dir: Path | None = None,
        force_raw: bool = True,
        vmdk_types: Sequence[str] = inspect.VMDK_TYPES,
        limits: Limits | None = None,
        max_concurrent: int = 0,
        wait_s: float = _WAIT_S,
    ) -> None:
        """
        :param base_dir: ``instances_path/_base``
        :param lock_dir: default ``instances_path/locks``, as nova-compute
        :param force_raw: [DEFAULT]force_raw_images: keep images as raw, not as qcow2
        :param vmdk_types: [compute]vmdk_allowed_types
        :param limits: what qemu-img may use to look into an untrusted image
        :param max_concurrent: [compute]max_concurrent_disk_ops, 0 for no limit
        :param wait_s: seconds to wait for another fetch of the same image
        """
        # One object for all: the kernel's locks hold among processes only.
        self._base_dir = base_dir
        self._source = source
        self.locks = NamedLocks(lock_dir or base_dir.parent / "locks")
        self._force_raw = force_raw
        self._vmdk_types = vmdk_types
        self._limits = limits
        self._slots = threading.BoundedSemaphore(max_concurrent) if max_concurrent else None
        self._wait_s = wait_s
        self._guard = threading.Lock()
        self._held: Counter[str] = Counter()

    @classmethod
    def from_conf(cls, conf: Any, source: ImageSource) -> ImageCache:
        """The cache that nova.conf describes."""
        instances = Path(conf.instances_path)
        return cls(
            instances / conf.image_cache.subdirectory_name,
            source,
            lock_dir=instances / "locks",
            force_raw=conf.force_raw_images,
            vmdk_types=conf.compute.vmdk_allowed_types,
            limits=Limits(
                cpu_s=conf.libvirt.images_cpu_time_limit,
                address_space_bytes=conf.libvirt.images_address_space_limit * 1024**3,
            ),
            max_concurrent=conf.compute.max_concurrent_disk_ops,
        )

    def show(self, context: object, image_id: str) -> Image:
        """What the image service says of an image now."""
        return self._source.show(context, image_id)

    def path(self, image_id: str) -> Path:
        """Where the image is, once complete."""
        digest = hashlib.sha1(image_id.encode(), usedforsecurity=False).hexdigest()
        return self._base_dir / digest

    def complete(self, image: Image | str) -> bool:
        """Whether the cache holds the image, ready for use."""
        image_id = image if isinstance(image, str) else image.id
        return bool(image_id) and self.path(str(image_id)).exists()

    def lost_base(self, disk: Path) -> Path | None:
        """The file of the cache that a disk is an overlay of, if it is not there any more."""
        try:
            base = backing.backing_file(disk)
        except OSError:
            return None  # whoever opens the disk says what is wrong with it
        ours = base is not None and base.parent == self._base_dir
        return base if ours and base is not None and not base.exists() else None

    @contextmanager
    def held(self, *paths: Path) -> Iterator[None]:
        """Nobody here removes these cached files meanwhile, whether they are there yet or not."""
        with self._guard:
            self._held.update(path.name for path in paths)
        try:
            yield
        finally:
            with self._guard:
                self._held.subtract(path.name for path in paths)
                self._held += Counter()  # drops what nobody holds any more

    def discard(self, path: Path, key: str, last_used: float) -> bool:
        """Remove a file of the cache; whether it was done.

        It stays when somebody holds it, works on ``key`` or has used it since ``last_used``.

        :param key: name of the cached file that it is, or is a stage of
        :param last_used: its modification time when it was found unused
        """
        try:
            with self.locks.held(key, timeout_s=0), self._guard:
                if self._held[path.name] or path.stat().st_mtime != last_used:
                    return False
                path.unlink()
                return True
        except (FileNotFoundError, TimeoutError):
            return False

    def precache(self, context: object, image_id: str) -> bool:
        """Bring an image into the cache before anybody boots from it; False when it is there.

        :raises: as :meth:`fetch`
        """
        if self.complete(image_id):
            _touched(self.path(image_id))
            return False
        image = self._source.show(context, image_id)
        if image.disk_format in BOOT_FORMATS:
            self.fetch_as_is(context, image_id)
        else:
            self.fetch(context, image)
        return True

    def fetch(
        self, context: object, image: Image, *, root_bytes: int = 0, raw: bool | None = None
    ) -> Path:
        """Return the cached file of a disk image, after fetching and checking it if need be.

        :param context: the request's credentials, for the image service
        :param image: its ``id`` and ``disk_format`` as the image service states them
        :param root_bytes: size of the flavor's root disk, 0 for "as large as the image"
        :param raw: overrides ``force_raw``; says nothing about an image that is cached already
        :raises FlavorDiskTooSmall: the image's virtual size exceeds ``root_bytes``; of a cached
            image the disk backend says so
        :raises ImageUnacceptable: it is not what it claims, or not safe to open
        :raises DiskFull, DiskError: the cache cannot hold it
        :raises ImageNotFound, ImageNotAuthorized, ImageUnavailable, ImageCorrupt: from the source
        """
        if not image.id:
            raise ImageNotFound("The server has no image to start from")
        with self._single(image.id) as path:
            if not path.exists():
                self._add(context, image, path, root_bytes, self._force_raw if raw is None else raw)
        return _touched(path)

    def fetch_as_is(self, context: object, image_id: str) -> Path:
        """Return the cached file of a kernel or ramdisk, whose bytes are for the guest alone."""
        with self._single(image_id) as path:
            if not path.exists():
                with self._downloaded(context, image_id, path) as download:
                    os.chmod(download, _MODE)
                    durable.publish(download, path)
        return _touched(path)

    def copied(self, path: Path, copy: Callable[[], None]) -> None:
        """Have a file of the cache copied from another host's, once for all who want it.

        :param path: a file of the cache that an overlay names, of an image or an empty file system
        :param copy: makes it, whole or not at all
        :raises DiskError: it is none of the cache
        :raises ImageUnavailable: somebody else is at it for too long
        """
        if path.parent != self._base_dir:
            raise DiskError(f"{path} is no file of the cache {self._base_dir}")
        with self._alone(path, f"file {path}"):
            if not path.exists():
                copy()
        _touched(path)

    def _single(self, image_id: str) -> AbstractContextManager[Path]:
        return self._alone(self.path(image_id), f"image {image_id}")

    @contextmanager
    def _alone(self, path: Path, what: str) -> Iterator[Path]:
        if path.exists():  # the usual case waits for nobody
            yield path
            return
        try:
            with space.reported(path):
                durable.make_directory(self._base_dir)
            with self.locks.held(path.name, self._wait_s):
                yield path
        except TimeoutError:
            raise ImageUnavailable(
                f"Another fetch of {what} did not end within {self._wait_s:g} s"
            ) from None

    @contextmanager
    def _downloaded(self, context: object, image_id: str, path: Path) -> Iterator[Path]:
        """Yield the verified download; nothing of it is left afterwards unless we are killed."""
        download = path.with_name(f"{path.name}.download")
        with self._slots or nullcontext(), space.reported(path):
            if not download.exists():
                LOG.info("Fetching image %s into the cache", image_id)
                self._source.download(context, image_id, download)
            try:
                yield download
            finally:
                download.unlink(missing_ok=True)

    def _add(self, context: object, image: Image, path: Path, root_bytes: int, raw: bool) -> None:
        image_id = str(image.id)
        with self._downloaded(context, image_id, path) as download:
            kind, virtual = inspect.verify(
                download,
                image_id,
                image.disk_format,
                vmdk_types=self._vmdk_types,
                limits=self._limits,
            )
            if root_bytes and virtual > root_bytes:
                raise FlavorDiskTooSmall(
                    f"Image {image_id} has a virtual size of {virtual} bytes but the flavor's "
                    f"disk only {root_bytes}: use a flavor with a larger root disk"
                )
            if kind == "raw" or (kind == "qcow2" and not raw):
                os.chmod(download, _MODE)
                durable.publish(download, path)
            else:
                _convert(download, path, kind, image_id)


def _convert(download: Path, path: Path, kind: str, image_id: str) -> None:
    LOG.info("Converting image %s from %s to raw", image_id, kind)
    with durable.made_whole(path, _MODE) as part:
        try:
            qemu_img.convert(download, part, kind, "raw")
        except qemu_img.process.ToolFailed as exc:
            if exc.no_space or exc.status is None:
                raise
            reason = f"it cannot be converted from {kind} to raw: {exc.stderr[:200]}"
            raise ImageUnacceptable(f"Image {image_id} is unacceptable: {reason}") from exc
        if _nested(part):
            raise ImageUnacceptable(
                f"Image {image_id} is unacceptable: its disk holds another disk image"
            )


def _nested(raw: Path) -> bool:
    """Whether a raw disk would later be taken for something else, such as qcow2."""
    try:
        return inspect.base(raw).format != "raw"
    except DiskError:
        return True


def _touched(path: Path) -> Path:
    """Note the use, for whoever removes old images; a read-only cache is fine."""
    try:
        os.utime(path)
    except OSError:
        pass
    return path
