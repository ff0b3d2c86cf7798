"""The image contracts: where servers start from, and where their snapshots go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from nova_lite.errors import ImageUnacceptable
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

    def url(self, context: object, image_id: str) -> str:
        """Where the image is, for those who only tell of it; its id where that is not known."""
        return image_id


class ImageStore(ABC):
    """Where snapshots go. nova-api makes the image record, which then waits for its bytes.

    May raise what ImageSource does, and ImageQuotaExceeded.
    """

    @abstractmethod
    def upload(
        self,
        context: object,
        image_id: str,
        source: Path,
        *,
        disk_format: str,
        container_format: str,
        properties: Mapping[str, str],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Describe a waiting image and give it the bytes of ``source``; it is active afterwards.

        An image that has these bytes already is left as it is. ``properties`` are set beside those
        it has; ``go_on`` is called between chunks and may raise to give up.
        """

    def add_location(
        self,
        context: object,
        image_id: str,
        location: str,
        *,
        properties: Mapping[str, str],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Tell a waiting image that its bytes, a raw disk, are at ``location``; it is active then.

        An image that is active already is left as it is; arguments as of ``upload``.

        :raises ImageUnacceptable, ImageNotAuthorized: the service does not believe addresses
        """
        raise ImageUnacceptable("This image service has no addresses of images")

    def copy_to(
        self,
        context: object,
        image_id: str,
        store: str,
        *,
        poll_s: float,
        timeout_s: float,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """Have an image copied to another store of the service, and wait until it is there.

        :param poll_s: seconds between two looks
        :param timeout_s: seconds until it counts as failed
        :raises ImageUnacceptable, ImageNotAuthorized: it is not copied
        """
        raise ImageUnacceptable("This image service has no other stores")

    @abstractmethod
    def status(self, context: object, image_id: str) -> str:
        """``queued``, ``saving``, ``active`` or another word of the image service."""

    @abstractmethod
    def delete(self, context: object, image_id: str) -> None:
        """Remove the image and its bytes; nothing to remove is success."""

    @abstractmethod
    def find(self, context: object, properties: Mapping[str, str]) -> list[str]:
        """Ids of the user's images that have all these properties, newest first."""


class ImageService(ImageSource, ImageStore):
    """What an image driver has to be."""
