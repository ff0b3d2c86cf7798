"""Where a disk is cloned from: asked once, copied by Glance, or forbidden to be fetched."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from nova_lite.errors import ImageNotAuthorized, ImageUnacceptable
from nova_lite.model.server import Image
from nova_lite.services.image_origin import origin

HERE, CLONE = "rbd://cluster/images/i/snap", "images/i@snap"


class Work:
    """An operation whose disks can be clones, and an image service that counts its calls."""

    def __init__(self, disk_format="raw", locations=(), clones=True, store="", forbid=False):
        self.context, self.cancelled = None, threading.Event()
        self.notes: dict = {}
        self.image = Image("i", disk_format=disk_format, locations=locations)
        self.calls: list[str] = []
        self.refusal: Exception | None = None
        self.tools = SimpleNamespace(
            disks=SimpleNamespace(
                clones=clones, origin=lambda found: CLONE if HERE in found else None
            ),
            images=self,
            image_store=self,
            conf=SimpleNamespace(
                libvirt=SimpleNamespace(
                    images_rbd_glance_store_name=store,
                    images_rbd_glance_copy_poll_interval=1,
                    images_rbd_glance_copy_timeout=2,
                ),
                workarounds=SimpleNamespace(never_download_image_if_on_rbd=forbid),
            ),
        )

    def note(self, **values):
        self.notes.update(values)

    def show(self, context, image_id):
        self.calls.append("show")
        return self.image

    def copy_to(self, context, image_id, store, **how):
        self.calls.append(f"copy to {store}")
        if self.refusal:
            raise self.refusal
        self.image = Image("i", disk_format="raw", locations=(HERE,))


def test_an_image_in_our_storage_is_cloned():
    """The image service is asked once in an operation."""
    work = Work(locations=(HERE,))
    assert [origin(work, work.image) for _ in range(2)] == [CLONE, CLONE]
    assert work.calls == ["show"]


def test_disks_that_are_files_ask_nobody():
    """Their images are always fetched."""
    work = Work(locations=(HERE,), clones=False)
    assert origin(work, work.image) is None and work.calls == []


@pytest.mark.parametrize("case", [{"disk_format": "qcow2", "locations": (HERE,)}, {}])
def test_other_images_are_fetched(case):
    """Another format, or another place."""
    work = Work(**case)
    assert origin(work, work.image) is None
    assert origin(work, work.image) is None
    assert work.calls == ["show"]


def test_the_image_service_copies_first():
    """With images_rbd_glance_store_name, an image is copied to our storage and then cloned."""
    work = Work(store="rbd")
    assert origin(work, work.image) == CLONE
    assert work.calls == ["show", "copy to rbd", "show"]


@pytest.mark.parametrize("refusal", [ImageUnacceptable("no"), ImageNotAuthorized("no")])
def test_what_the_image_service_does_not_copy_is_fetched(refusal):
    """Ordinary users may usually not have images copied."""
    work = Work(store="rbd")
    work.refusal = refusal
    assert origin(work, work.image) is None


def test_fetching_can_be_forbidden():
    """never_download_image_if_on_rbd: the boot fails and says why."""
    work = Work(disk_format="qcow2", forbid=True)
    with pytest.raises(ImageUnacceptable, match="never_download_image_if_on_rbd"):
        origin(work, work.image)
