"""Where a disk can be made from an image without copying it through this host."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_lite.errors import ImageNotAuthorized, ImageUnacceptable
from nova_lite.model.server import Image
from nova_lite.services.notes import ImageNotes
from nova_lite.services.work import Interrupted, Work

LOG = logging.getLogger(__name__)


def origin(work: Work, image: Image) -> str | None:
    """The location that the disk backend can clone ``image`` from; None: fetch it into the cache.

    It is decided once for an operation.

    :raises ImageUnacceptable: there is nothing to clone, and nova.conf forbids to fetch
    """
    if not work.tools.disks.clones or not image.id:
        return None
    known = ImageNotes.of(work.notes).origins or {}
    if image.id not in known:
        known = {**known, image.id: _find(work, image.id) or ""}
        work.note(origins=known)
    return known[image.id] or None


def _find(work: Work, image_id: str) -> str | None:
    conf, tools = work.tools.conf, work.tools
    image = tools.images.show(work.context, image_id)
    if image.disk_format == "raw":
        found = tools.disks.origin(image.locations)
        store = conf.libvirt.images_rbd_glance_store_name
        if found is None and store and _copied(work, image_id, store):
            found = tools.disks.origin(tools.images.show(work.context, image_id).locations)
        if found is not None:
            return found
    if conf.workarounds.never_download_image_if_on_rbd:
        raise ImageUnacceptable(
            f"Image {image_id} is unacceptable: it is not a raw image in the Ceph cluster of this "
            "host, and [workarounds]never_download_image_if_on_rbd forbids to fetch it"
        )
    return None


def _copied(work: Work, image_id: str, store: str) -> bool:
    """Have the image service copy an image to the store that is in our cluster."""
    options = work.tools.conf.libvirt
    try:
        work.tools.image_store.copy_to(
            work.context,
            image_id,
            store,
            poll_s=options.images_rbd_glance_copy_poll_interval,
            timeout_s=options.images_rbd_glance_copy_timeout,
            go_on=_unless_cancelled(work),
        )
    except (ImageUnacceptable, ImageNotAuthorized) as error:
        LOG.warning("Image %s is fetched and not cloned: %s", image_id, error)
        return False
    return True


def _unless_cancelled(work: Work) -> Callable[[], None]:
    def go_on() -> None:
        if work.cancelled.is_set():
            raise Interrupted

    return go_on
