"""The image cache: filled ahead of boots, emptied when nobody uses it."""

import hashlib
import os
import time

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

# A pass every few seconds is for tests only.
OPTIONS = """[image_cache]
manager_interval = 3
remove_unused_original_minimum_age_seconds = 1
[workarounds]
reserve_disk_resource_for_image_cache = true
"""


@pytest.fixture(scope="module")
def picture(api, tmp_path_factory, module_garbage):
    """An image that nobody boots from."""
    path = tmp_path_factory.mktemp("image") / "picture.raw"
    path.write_bytes(b"a picture".ljust(1024**2, b"\0"))
    image = api.upload_image(path, "raw")
    module_garbage.later(lambda: api.delete_image(image))
    return image


@pytest.fixture(scope="module")
def aggregate(api, node, module_garbage):
    """The host under test, as a group of its own."""
    body = {"aggregate": {"name": f"{NAME_PREFIX}-{node}"}}
    made = api.call("POST", "/os-aggregates", body)["aggregate"]["id"]
    module_garbage.later(lambda: api.call("DELETE", f"/os-aggregates/{made}", ok=False))
    api.call("POST", f"/os-aggregates/{made}/action", {"add_host": {"host": node}})
    module_garbage.later(lambda: api.call(
        "POST", f"/os-aggregates/{made}/action", {"remove_host": {"host": node}}, ok=False
    ))  # fmt: skip
    return made


def cached(cloud, node, image):
    return (
        cloud.nova_files(node) / "instances/_base" / hashlib.sha1(image.encode()).hexdigest()
    )


def precache(api, aggregate, *images):
    body = {"cache": [{"id": image} for image in images]}
    response = api.call("POST", f"/os-aggregates/{aggregate}/images", body, ok=False)
    assert response.status_code == 202, response.text


@pytest.mark.core
def test_images_are_cached_for_an_aggregate(api, cloud, node, aggregate, picture):
    """Fetched once; a second request only marks it as used."""
    path = cached(cloud, node, picture)
    assert not path.exists()
    precache(api, aggregate, picture)
    wait_for(f"{path}", path.exists, 60)
    assert path.stat().st_size == 1024**2

    os.utime(path, (1, 1))
    before = path.stat().st_ino
    precache(api, aggregate, picture)
    wait_for("a new time stamp", lambda: path.stat().st_mtime > 1, 60)
    assert path.stat().st_ino == before


def test_unused_images_are_removed_and_used_ones_stay(
    api, cloud, node, aggregate, picture, server, boot
):
    """Boots go on while the cache is cleaned; what it takes is reserved in Placement."""
    precache(api, aggregate, picture)
    wait_for("the picture", cached(cloud, node, picture).exists, 60)
    used = cached(cloud, node, api.image_id("tiny-fast"))
    partial = used.with_name(f"{'f' * 40}.download.part")
    partial.write_bytes(b"cut off")
    os.utime(partial, (1, 1))
    with cloud.options(node, OPTIONS):
        wait_for("room for the cache", lambda: reserved(api, cloud, node) >= 1, 60)
        gone = cached(cloud, node, picture)
        wait_for(f"the end of {gone} and {partial}",
                 lambda: not gone.exists() and not partial.exists(), 60)  # fmt: skip
        boot()
        assert used.exists()
        assert time.time() - used.stat().st_mtime < 60


def reserved(api, cloud, node):
    path = f"/resource_providers/{cloud.provider(node)}/inventories/DISK_GB"
    return api.placement_get(path)["reserved"]
