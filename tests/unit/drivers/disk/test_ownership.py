"""Whose files the agent makes: a host may go back to a nova-compute that is not root."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from nova_lite.configdrive import writer
from nova_lite.drivers.disk import durable
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.drivers.disk.locks import NamedLocks
from nova_lite.drivers.disk.raw import RawBackend
from nova_lite.engine.journal import Journal
from nova_lite.membership import identity

NOVA, GROUP = 65534, 65533
UUID = "7b8a4b1e-6d2f-4f8b-9f43-0d9d4c6f9a10"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def state(tmp_path):
    """A state_path as nova-compute's package makes it."""
    path = tmp_path / "nova"
    path.mkdir()
    os.chown(path, NOVA, GROUP)
    return path


def owners(*paths):
    return {(os.lstat(path).st_uid, os.lstat(path).st_gid) for path in paths}


def make_server(state):
    """Everything that a server and the image cache leave below instances_path."""
    instances = state / "instances"
    server = instances / UUID
    RawBackend().create(server, LocalDisk("disk", 4096))
    with NamedLocks(instances / "locks").held("image", 1.0):
        durable.make_directory(instances / "_base")
    with durable.made_whole(instances / "_base" / "image") as part:
        part.write_bytes(b"image")
    return instances


def test_everything_belongs_to_the_owner_of_the_directory(state):
    """Directories, disks, disk.info, cached images, locks and compute_id: as if nova made them."""
    made = [make_server(state)]
    identity.write(state, UUID)
    made += [*state.rglob("*")]

    assert {path.name for path in made} >= {
        "instances", UUID, "disk", "disk.info", "_base", "image", "locks", "nova-image",
        identity.FILE_NAME,
    }  # fmt: skip
    assert owners(*made) == {(NOVA, GROUP)}


def test_the_other_agent_can_remove_a_server(state):
    """A server made by root is gone after the owner of instances_path deletes it."""
    instances = make_server(state)
    writer._lay_out(instances / UUID / "disk.config.d.part", {"openstack/latest/a.json": b"{}"})
    subprocess.run(["rm", "-r", UUID], cwd=instances, user=NOVA, group=GROUP, check=True)

    assert not (instances / UUID).exists()


def test_the_other_agent_can_take_the_locks(state):
    """A lock file made by root can be opened for writing by the owner of the directory."""
    instances = make_server(state)
    script = 'exec 9>>locks/nova-image; echo "mine"'
    answer = subprocess.run(
        ["sh", "-c", script], cwd=instances, user=NOVA, group=GROUP, check=True, capture_output=True
    )

    assert answer.stdout == b"mine\n"


@pytest.mark.skipif(not shutil.which("genisoimage"), reason="genisoimage is not installed")
def test_config_drive(state):
    """The drive can be read by its owner, and by nobody else: it tells a password."""
    path = state / "instances" / UUID / "disk.config"
    writer.write(path, {"openstack/latest/meta_data.json": b"{}"})

    assert owners(path.parent, path) == {(NOVA, GROUP)}
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_journal_stays_with_root(state):
    """A request holds a token: only the agent itself reads it."""
    directory = state / "nova-lite" / "journal"
    Journal(directory).prepare()

    assert owners(directory.parent, directory) == {(0, 0)}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_below_a_directory_of_root_nothing_changes(tmp_path):
    """Where nova-compute runs as root as well, so do its files."""
    made = [make_server(tmp_path), *tmp_path.rglob("*")]

    assert owners(*made) == {(0, 0)}


def test_files_of_others_are_left_to_them(state):
    """Only what root made is given away."""
    path = state / "disk"
    path.touch()
    os.chown(path, 1, 1)
    durable.give(path)

    assert owners(path) == {(1, 1)}


def test_links_are_not_followed(state, tmp_path):
    """Whoever owns the directory gets the link that is there, not what it points to."""
    secret = tmp_path / "secret"
    secret.touch()
    link = state / "disk"
    link.symlink_to(secret)
    durable.give(link)

    assert owners(secret) == {(0, 0)}
    assert owners(link) == {(NOVA, GROUP)}


def test_a_file_in_the_way_of_a_directory(tmp_path):
    """It is an error, not a directory."""
    (tmp_path / "file").touch()

    with pytest.raises(FileExistsError):
        durable.make_directory(tmp_path / "file")
