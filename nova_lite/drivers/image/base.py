"""The image contract: metadata and bytes of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from nova_lite.model.server import Image


class ImageSource(ABC):
    """Where images come from. ``context`` carries the user's credentials (wire.RequestContext).

    May raise ImageNotFound, ImageUnavailable (service down: retry elsewhere), ImageCorrupt
    (checksum or size differs from what the service promises) and ImageNotAuthorized.
    """

    @abstractmethod
    def show(self, context: object, image_id: str) -> Image:
        """Metadata of the image."""

    @abstractmethod
    def download(self, context: object, image_id: str, target: Path) -> None:
        """Write the image's bytes to ``target`` (a new file), verified; remove it on failure."""
