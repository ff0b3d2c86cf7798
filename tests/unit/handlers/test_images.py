"""Images cached ahead of boots: an answer for each."""

from __future__ import annotations

from types import SimpleNamespace

from nova_lite.handlers.images import Images
from nova_lite.services.image_cache import ImageCache
from nova_lite.wire.context import RequestContext
from tests.fakes.images import FakeImages


def test_every_image_is_answered_for(tmp_path):
    """One that is new, one that is there, one that does not exist, one that lies."""
    source = FakeImages()
    for image_id in ("new", "there"):
        source.add(image_id, b"x".ljust(4096, b"\0"))
    source.add("liar", b"x".ljust(4096, b"\0"), disk_format="qcow2")
    images = ImageCache(tmp_path / "_base", source)
    images.precache(None, "there")

    answer = Images(SimpleNamespace(images=images)).cache_images(
        RequestContext.admin(), ["liar", "new", "nowhere", "there"]
    )

    assert answer == {"liar": "error", "new": "cached", "nowhere": "error", "there": "existing"}
