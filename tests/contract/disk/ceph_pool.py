"""A Ceph cluster for tests, if there is one: $NOVA_LITE_TEST_CEPH, or that of devstack/cloud."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from nova_lite.drivers.disk.ceph import Ceph
from nova_lite.drivers.disk.rbd import RbdBackend
from nova_lite.drivers.disk.rbd_images import RbdImages
from nova_lite.errors import DiskError

POOL, IMAGE_POOL, USER = "vms", "images", "cinder"
SECRET = "457eb676-0000-4000-8000-000000000001"


def conf_file() -> Path:
    cloud = Path(os.environ.get("NOVA_LITE_CLOUD", "/opt/nova-lite-cloud"))
    return Path(os.environ.get("NOVA_LITE_TEST_CEPH") or cloud / "etc" / "ceph" / "ceph.conf")


@functools.cache
def cluster() -> Ceph:
    return Ceph(str(conf_file()), USER)


@functools.cache
def reachable() -> bool:
    try:
        return conf_file().exists() and cluster().rbd("ls", POOL) is not None
    except DiskError:
        return False


def images() -> RbdImages:
    if not reachable():
        pytest.skip("no Ceph: bring the cloud up, or name a ceph.conf in NOVA_LITE_TEST_CEPH")
    return RbdImages(cluster(), retries=8, pause_s=0.5)


def backend() -> RbdBackend:
    return RbdBackend(images(), POOL, USER, SECRET)
