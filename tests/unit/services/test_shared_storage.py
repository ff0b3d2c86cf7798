"""Whether hosts share the files of a server: both sides of the question."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from nova_lite.errors import DiskError, MalformedMessage, PeerUnavailable, RemoteHostUnreachable
from nova_lite.handlers.shared_storage import SharedStorage
from nova_lite.services.shared_storage import (
    OLD_S,
    PREFIX,
    has_file,
    is_shown,
    is_there,
    shared_over,
    shared_with,
    shown,
)
from nova_lite.wire.context import RequestContext

SERVER = "3b0f1c3e-0000-4000-8000-000000000001"


class Remote:
    """Another host, over ssh or RPC, which sees the files below ``instances``."""

    def __init__(self, instances):
        self.instances, self.asked, self.error = instances, [], None

    def exists(self, path):
        self.asked.append(path)
        assert os.path.exists(path)
        if self.error:
            raise self.error
        return is_there(self.instances, path)

    def call(self, context, host, method, data):
        assert (host, method) == ("node2", "check_instance_shared_storage")
        return self.exists(data["filename"])


@pytest.fixture
def instances(tmp_path):
    made = tmp_path / "instances"
    (made / SERVER).mkdir(parents=True)
    return made


def work(instances, peers=None):
    conf = SimpleNamespace(instances_path=str(instances))
    return SimpleNamespace(
        uuid=SERVER, context=None, tools=SimpleNamespace(conf=conf, peers=peers)
    )


@pytest.mark.parametrize("shared", [True, False])
def test_the_other_host_says_whether_it_has_the_file(instances, tmp_path, shared):
    """Over the broker and over the transport of disks; the file is gone afterwards."""
    remote = Remote(instances if shared else tmp_path / "elsewhere")

    assert shared_over(work(instances), remote) is shared
    assert shared_with(work(instances, remote), "node2") is shared

    assert len(set(remote.asked)) == 2
    assert list((instances / SERVER).iterdir()) == []


def test_a_host_that_does_not_tell_is_not_believed_to_share(instances):
    """The broker's answer is None, and the caller decides; ssh's errors are for whoever copies."""
    remote = Remote(instances)
    remote.error = PeerUnavailable("host node2 does not answer")
    assert shared_with(work(instances, remote), "node2") is None
    remote.error = RemoteHostUnreachable("host node2 does not answer ssh")
    with pytest.raises(RemoteHostUnreachable):
        shared_over(work(instances), remote)

    assert list((instances / SERVER).iterdir()) == []


def test_the_other_host_says_what_it_has_itself(instances):
    """Nothing is made here for that question; a host that does not answer has not said no."""
    remote = Remote(instances)
    remote.exists = lambda path: is_there(instances, path)
    asking = work(instances, remote)

    assert has_file(asking, "node2", "disk.info") is False
    (instances / SERVER / "disk.info").touch()
    assert has_file(asking, "node2", "disk.info") is True

    def silent(path):
        raise PeerUnavailable("host node2 does not answer")

    remote.exists = silent
    assert has_file(asking, "node2", "disk.info") is None


def test_what_a_killed_agent_left_is_removed(instances):
    """It would go to the other host with the disks."""
    (instances / SERVER / f"{PREFIX}x1").touch()

    shared_over(work(instances), Remote(instances))

    assert list((instances / SERVER).iterdir()) == []


def test_a_directory_that_cannot_be_written_to_is_named(instances):
    """There is nothing to compare."""
    (instances / SERVER).rmdir()

    with pytest.raises(DiskError, match=SERVER):
        shared_over(work(instances), Remote(instances))


# --- the other side -----------------------------------------------------------------------------
def test_a_file_in_a_servers_directory_is_seen(instances):
    """As nova-compute names it, and as this agent does."""
    for name in ("tmpq0dgdmop", f"{PREFIX}x1"):
        assert not is_there(instances, str(instances / SERVER / name))
        (instances / SERVER / name).touch()
        assert is_there(instances, str(instances / SERVER / name))


@pytest.mark.parametrize(
    "filename",
    [
        "/etc/passwd",
        "{instances}",
        "{instances}/",
        "{instances}/{server}",
        "{instances}/{server}/../../secret",
        "{instances}/../secret",
        "{instances}/../secret/secret",
        "{instances}/{server}/deep/secret",
        "{instances}/{server}/..",
        "instances/{server}/secret",
        "{instances}/{server}/a\0b",
        "",
        None,
        7,
    ],
)
def test_nothing_else_is_looked_at(instances, filename):
    """A host that was taken over could ask for anything, and learn what is here."""
    (instances.parent / "secret").touch()
    (instances / SERVER / "deep").mkdir()
    (instances / SERVER / "deep" / "secret").touch()
    if isinstance(filename, str):
        filename = filename.format(instances=instances, server=SERVER)

    assert is_there(instances, filename) is False


def test_no_link_is_followed(instances):
    """The link itself is there, whatever it leads to."""
    (instances / SERVER / "link").symlink_to("/nowhere")

    assert is_there(instances, str(instances / SERVER / "link"))


def test_the_method_answers_and_refuses_what_makes_no_sense(instances):
    """nova-compute of the other host takes the answer for a bool."""
    handler = SharedStorage(SimpleNamespace(conf=SimpleNamespace(instances_path=str(instances))))
    ask, context = handler.check_instance_shared_storage, RequestContext.admin()
    (instances / SERVER / "tmpx").touch()

    assert ask(context, data={"filename": str(instances / SERVER / "tmpx")}) is True
    assert ask(context, data={"filename": str(instances / SERVER / "tmpy")}) is False
    for data in ({}, {"filename": None}, None, "x"):
        with pytest.raises(MalformedMessage, match="filename"):
            ask(context, data=data)


def test_a_file_in_instances_path_shows_whether_it_is_shared(instances, tmp_path):
    """Of both hosts each makes and looks; what a killed agent has left goes after an hour."""
    left, fresh = instances / f"{PREFIX}left", instances / f"{PREFIX}fresh"
    for path in (left, fresh):
        path.touch()
    os.utime(left, (0, left.stat().st_mtime - OLD_S - 60))

    with shown(instances) as name:
        assert is_shown(instances, name)
        assert not is_shown(tmp_path, name)
        assert not left.exists()

    assert not is_shown(instances, name)
    assert fresh.exists()  # another check may be at it


@pytest.mark.parametrize("name", [None, "", ".", "..", "a\0b", f"{SERVER}/disk", "/etc/passwd"])
def test_only_a_name_is_looked_for(instances, name):
    """No other host learns what files this one has."""
    (instances / SERVER / "disk").touch()
    assert not is_shown(instances, name)


def test_instances_path_that_cannot_be_written_is_named(tmp_path):
    """Before the other host is asked."""
    with pytest.raises(DiskError, match="nowhere"), shown(tmp_path / "nowhere"):
        pass
