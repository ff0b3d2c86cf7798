"""The step that restores the backing file of a server's root disk in the image cache."""

from __future__ import annotations

import logging

from nova_lite.errors import DiskError
from nova_lite.services.disk_files import GIB, ROOT, directory
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.steps.base import Step

LOG = logging.getLogger(__name__)


class RestoreBacking(Step):
    """Fetch the image again if the cached backing file of the root disk is missing."""

    name = "restore_backing"

    def do(self) -> None:
        work, images, server = self.work, self.tools.images, self.work.server
        lost = images.lost_base(directory(work) / ROOT)
        if lost is None:
            return
        refuse_certificates(work)
        if not server.image.id or images.path(server.image.id) != lost:
            raise DiskError(
                f"The root disk of instance {work.uuid} needs {lost}, which is gone, and its image "
                "is another one: restore the file from a backup or from another host"
            )
        LOG.warning("%s, which server %s needs, is gone; fetching it again", lost, work.uuid)
        image = images.show(work.context, server.image.id)
        images.fetch(work.context, image, root_bytes=server.flavor.root_gb * GIB)
