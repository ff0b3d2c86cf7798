"""Each request is promised once, whoever sends it again, and nobody waits for another's disk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from nova_lite.engine import journal as journal_module
from nova_lite.engine.key import key_of
from nova_lite.errors import JournalError
from nova_lite.rpc.endpoint import VERBS
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.unit.engine.toys import World, arguments, make_engine, request, resume, run

CONTEXT = RequestContext({"request_id": "req-1"})


@pytest.fixture
def world():
    return World()


@pytest.fixture
def engine(tmp_path, world):
    return make_engine(tmp_path, world)


class SlowDisk:
    """Syncing the journal's directory takes as long as the test wants."""

    def __init__(self, monkeypatch):
        self.reached, self.go, self.error = threading.Semaphore(0), threading.Event(), None
        self._sync = journal_module.durable.sync
        monkeypatch.setattr(journal_module, "durable", SimpleNamespace(sync=self))

    def __call__(self, directory):
        self.reached.release()
        assert self.go.wait(10)
        if self.error:
            error, self.error = self.error, None
            raise error
        self._sync(directory)


def test_what_it_is_about_tells_requests_apart(engine):
    """One request that attaches two volumes is two operations; each of them comes once."""
    first, second = request(engine, volume_id="v1"), request(engine, volume_id="v2")

    assert first is not None and second is not None
    assert request(engine, volume_id="v1") is None


def test_a_message_without_a_request_id_is_no_repetition(engine, world):
    """Two of them are two requests, however alike they are."""
    for _ in range(2):
        run(engine, None)

    assert world.log.count("do first") == 2


def test_such_a_message_is_resumed_like_any_other(tmp_path, world):
    """Its own identity is in the journal."""
    request(make_engine(tmp_path, world), None)

    resume(tmp_path, world)

    assert world.log.count("do first") == 1
    assert list(tmp_path.glob("*.journal")) == []


def test_the_subject_is_known_to_the_next_process(tmp_path, world):
    """An open entry is the same request there, a finished one, too."""
    first = make_engine(tmp_path, world)
    run(first, 1, volume_id="v1")
    request(first, 2, volume_id="v1")

    successor = make_engine(tmp_path, world)
    successor.resume()

    assert request(successor, 1, volume_id="v1") is None
    assert request(successor, 2, volume_id="v1") is None
    assert request(successor, 1, volume_id="v2") is not None
    assert successor.settle(10)


def test_nobody_waits_for_another_ones_disk(engine, monkeypatch):
    """While one intent is being synced, others are looked up, run and closed."""
    entry = request(engine, 1)
    disk = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(2) as workers:
        slow = workers.submit(request, engine, 2, "s2")
        assert disk.reached.acquire(timeout=5)

        assert request(engine, 1) is None
        engine.start(entry)
        assert engine.settle(5)
        assert entry.answer.done()

        disk.go.set()
        assert slow.result(5) is not None


def test_a_repetition_waits_for_the_first(engine, monkeypatch):
    """It must not be acknowledged before the first is on disk."""
    disk = SlowDisk(monkeypatch)
    with ThreadPoolExecutor(2) as workers:
        first = workers.submit(request, engine)
        assert disk.reached.acquire(timeout=5)
        second = workers.submit(request, engine)
        assert not second.done()

        disk.go.set()

        assert first.result(5) is not None
        assert second.result(5) is None


def test_a_repetition_is_tried_itself_where_the_first_could_not_be_promised(engine, monkeypatch):
    """There may be room on the disk by then."""
    disk = SlowDisk(monkeypatch)
    disk.error = OSError(28, "No space left on device")
    with ThreadPoolExecutor(2) as workers:
        first = workers.submit(request, engine)
        assert disk.reached.acquire(timeout=5)
        second = workers.submit(request, engine)
        disk.go.set()

        assert isinstance(first.exception(5), JournalError)
        assert second.result(5) is not None


def test_a_refusal_holds_no_worker_and_comes_once(engine, world):
    """It waits for its server's turn; the same request meanwhile shares its end."""
    release = threading.Event()
    engine.after("s1", "what the server is doing", lambda: release.wait(10))
    error = JournalError("full")

    first = engine.refuse("operate", CONTEXT, "s1", arguments(), error)
    second = engine.refuse("operate", CONTEXT, "s1", arguments(), error)
    assert not first.done()
    release.set()

    assert first.result(5) and second.result(5)
    assert world.log == []
    assert [name for name, _ in engine.seen_events] == ["start", "finish"]


def test_a_refused_request_is_known_when_it_comes_again(tmp_path, engine, world):
    """The acknowledgement may get lost after its end was told."""
    assert engine.refuse("operate", CONTEXT, "s1", arguments(), JournalError("full")).result(5)

    assert request(engine) is None
    assert request(make_engine(tmp_path, world)) is None


MAPPING = WireObject.new("BlockDeviceMapping", "1.21", volume_id="v1")
SHARE = WireObject.new("ShareMapping", "1.2", share_id="f1")


@pytest.mark.parametrize(
    ("method", "more", "subject"),
    [
        ("attach_volume", {"bdm": MAPPING}, "v1"),
        ("detach_volume", {"volume_id": "v1", "attachment_id": "a"}, "v1"),
        ("swap_volume", {"old_volume_id": "v1", "new_volume_id": "v2"}, "v1"),
        ("reserve_block_device_name", {"volume_id": "v1"}, "v1"),
        ("remove_volume_connection", {"volume_id": "v1"}, "v1"),
        ("extend_volumes", {"volume_ids": ["v2", "v1"]}, "v1,v2"),
        ("allow_share", {"share_mapping": SHARE}, "f1"),
        ("deny_share", {"share_mapping": SHARE}, "f1"),
        ("snapshot_instance", {"image_id": "i1"}, "i1"),
        ("backup_instance", {"image_id": "i1"}, "i1"),
        ("volume_snapshot_create", {"volume_id": "v1", "create_info": {"snapshot_id": "n1"}}, "n1"),
        ("volume_snapshot_create", {"volume_id": "v1", "create_info": {}}, "v1"),
        ("volume_snapshot_delete", {"volume_id": "v1", "snapshot_id": "n1"}, "n1"),
        ("stop_instance", {}, ""),
        ("terminate_instance", {"bdms": None}, ""),
    ],
)
def test_subjects_of_the_verbs(method, more, subject):
    """What a second message of the same request may be about."""
    assert key_of(VERBS[method], method, CONTEXT, "s1", arguments(**more)).subject == subject
