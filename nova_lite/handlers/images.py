"""cache_images: fetch images into the image cache before servers boot from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from nova_lite.errors import NovaLiteError
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

CACHED, EXISTING, ERROR = "cached", "existing", "error"


class Images:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def cache_images(
        self, context: RequestContext, image_ids: Sequence[str], **_ignored: Any
    ) -> dict[str, str]:
        """Fetch images into the cache, one after the other, and return the result of each.

        A failure does not stop the others.
        """
        LOG.info("Caching %d images by request %s", len(image_ids), context.request_id)
        return {str(image_id): self._cache(context, str(image_id)) for image_id in image_ids}

    def _cache(self, context: RequestContext, image_id: str) -> str:
        try:
            return CACHED if self._tools.images.precache(context, image_id) else EXISTING
        except NovaLiteError as error:
            LOG.error("Could not cache image %s: %s", image_id, error)
        except Exception:
            LOG.exception("Could not cache image %s", image_id)
        return ERROR
