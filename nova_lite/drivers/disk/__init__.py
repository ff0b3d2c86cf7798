"""Local disks of servers: one module per kind, chosen by nova.conf's image options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova_lite.clock import SYSTEM, Clock
from nova_lite.drivers.disk.base import DiskBackend, RemoteFiles
from nova_lite.errors import InvalidConfiguration

_SUPPORTED = "default, qcow2, raw, flat and rbd"


def from_conf(conf: Any) -> DiskBackend:
    """Build the backend that nova.conf asks for; nobody is contacted.

    :raises InvalidConfiguration: this kind of disk is not supported, or lacks an option
    """
    if conf.libvirt.images_type == "rbd":
        return _rbd(conf.libvirt)
    return backend(conf.libvirt.images_type, conf.use_cow_images, conf.preallocate_images)


def _rbd(options: Any) -> DiskBackend:
    from nova_lite.drivers.disk.ceph import Ceph
    from nova_lite.drivers.disk.rbd import RbdBackend
    from nova_lite.drivers.disk.rbd_images import RbdImages

    if not options.images_rbd_pool:
        raise InvalidConfiguration("[libvirt]images_type=rbd needs images_rbd_pool")
    if options.rbd_user and not options.rbd_secret_uuid:
        raise InvalidConfiguration(
            "[libvirt]images_type=rbd with rbd_user needs rbd_secret_uuid: the libvirt secret that "
            "holds this user's key"
        )
    cluster = Ceph(
        options.images_rbd_ceph_conf, options.rbd_user or None, options.rbd_connect_timeout
    )
    images = RbdImages(
        cluster,
        retries=options.rbd_destroy_volume_retries,
        pause_s=options.rbd_destroy_volume_retry_interval,
    )
    return RbdBackend(
        images, options.images_rbd_pool, options.rbd_user or None, options.rbd_secret_uuid or None
    )


def backend(
    images_type: str, use_cow_images: bool, preallocate_images: str = "none"
) -> DiskBackend:
    """Build a backend whose disks are files.

    :param images_type: [libvirt]images_type
    :param use_cow_images: [DEFAULT]use_cow_images; decides when ``images_type`` is default
    :param preallocate_images: [DEFAULT]preallocate_images, 'none' or 'space'
    :raises InvalidConfiguration: this kind of disk is not supported
    """
    from nova_lite.drivers.disk.qcow2 import Qcow2Backend
    from nova_lite.drivers.disk.raw import RawBackend

    if images_type == "default":
        images_type = "qcow2" if use_cow_images else "raw"
    kinds: dict[str, type[Qcow2Backend] | type[RawBackend]] = {
        "qcow2": Qcow2Backend,
        "raw": RawBackend,
        "flat": RawBackend,
    }
    if images_type not in kinds:
        raise InvalidConfiguration(
            f"[libvirt]images_type={images_type} is not supported: use one of {_SUPPORTED}"
        )
    return kinds[images_type](preallocate=preallocate_images == "space")


def remote_files(conf: Any, clock: Clock = SYSTEM) -> Callable[[str, str], RemoteFiles]:
    """What reaches the files of other hosts, by address and name; nobody is contacted.

    :param conf: as of ``remote.RemoteHost``
    """

    def of(address: str, name: str) -> RemoteFiles:
        from nova_lite.drivers.disk.remote import RemoteHost

        return RemoteHost(address, conf, clock, name=name)

    return of
