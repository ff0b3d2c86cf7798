"""Image records of failed snapshots that are still to be deleted, one empty file for each.

nova-api makes the record before the host begins. When a snapshot fails because the image service is
away, the record cannot be deleted then; it is noted here and deleted when the service is back.
"""

from __future__ import annotations

import logging
from pathlib import Path

from nova_lite.drivers.image.base import ImageStore
from nova_lite.errors import ImageNotAuthorized, ImageNotFound, NovaLiteError
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)


class ImageLeftovers:
    """Image ids noted below ``state_path``."""

    def __init__(self, tools: Toolbox) -> None:
        self._store = tools.image_store
        self._directory = Path(tools.conf.state_path) / "nova-lite" / "images-to-delete"

    def add(self, image_id: str) -> None:
        """Note an image record without bytes; a disk that refuses is logged."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            (self._directory / image_id).touch()
        except OSError as error:
            LOG.error("Image %s will not be deleted: cannot note it in %s: %s",
                      image_id, self._directory, error.strerror)  # fmt: skip

    def tick(self) -> None:
        """Try to delete what is noted, with the agent's own credentials."""
        if not self._directory.is_dir():
            return
        context = RequestContext.admin()
        for path in sorted(self._directory.iterdir()):
            try:
                discard(self._store, context, path.name)
                LOG.info("Deleted image %s, which a failed snapshot had left", path.name)
            except ImageNotAuthorized as error:
                LOG.error("Image %s of a failed snapshot stays: %s", path.name, error)
            except NovaLiteError as error:
                LOG.warning("Image %s is still to be deleted: %s", path.name, error)
                return
            path.unlink(missing_ok=True)


def discard(store: ImageStore, context: RequestContext, image_id: str) -> None:
    """Delete an image record unless its bytes are there.

    :raises ImageNotAuthorized, ImageUnavailable, ControlPlaneUnavailable: it is still there
    """
    try:
        if store.status(context, image_id) != "active":
            store.delete(context, image_id)
    except ImageNotFound:
        pass
