"""Local disks of servers: one module per kind, chosen by nova.conf's image options."""

from __future__ import annotations

from nova_lite.drivers.disk.base import DiskBackend
from nova_lite.errors import InvalidConfiguration

_SUPPORTED = "default, qcow2, raw and flat"


def backend(
    images_type: str, use_cow_images: bool, preallocate_images: str = "none"
) -> DiskBackend:
    """Build the backend that the configuration asks for.

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
