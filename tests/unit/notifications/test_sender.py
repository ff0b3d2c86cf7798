"""Sending beside the work: in order, never failing, never in the way."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from nova_lite.notifications import sender as module
from nova_lite.notifications.notifier import Notifier
from nova_lite.notifications.sender import GROUP, NotTaken, Sender, Topics, drivers
from nova_lite.rpc import transport
from nova_lite.wire.context import RequestContext
from tests.fakes.conf_file import read_conf


def test_what_is_put_is_done_in_order() -> None:
    """When put returns, a broker that answers has it."""
    done: list[int] = []
    sender = Sender()

    for number in range(20):
        sender.put(lambda number=number: done.append(number))  # type: ignore[misc]

    assert done == list(range(20))


def test_a_failing_notification_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """The next one goes out."""
    done: list[str] = []
    sender = Sender()

    sender.put(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    sender.put(lambda: done.append("next"))

    assert done == ["next"]
    assert "was not sent" in caplog.text


def test_a_broker_that_takes_nothing_is_waited_for_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One short wait, one line; then nobody waits, and everything goes out when it is back."""
    caplog.set_level(logging.INFO)
    back, done = threading.Event(), []
    sender = Sender(room=3, patience=0.2)

    began = time.monotonic()
    sender.put(back.wait)  # type: ignore[arg-type]
    first = time.monotonic() - began
    for number in range(10):
        sender.put(lambda number=number: done.append(number))  # type: ignore[misc]
    others = time.monotonic() - began - first
    back.set()
    sender.close()
    deadline = time.monotonic() + 5
    while "taken again" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)

    assert 0.2 <= first < 2 and others < 0.2
    assert done == [0, 1, 2]  # there was room for three
    assert caplog.text.count("does not take notifications") == 1
    assert "taken again" in caplog.text


def test_what_was_not_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, as long as there is room."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    attempts: list[str] = []

    def refuse_twice() -> None:
        attempts.append("first")
        if len(attempts) < 3:
            raise NotTaken("connection refused")

    sender = Sender()
    sender.put(refuse_twice)
    sender.put(lambda: attempts.append("second"))
    sender.close()

    assert attempts == ["first", "first", "first", "second"]


def test_retry_with_a_limit_drops_what_was_not_taken() -> None:
    """As [oslo_messaging_notifications]retry asks."""
    attempts: list[str] = []

    def refuse() -> None:
        attempts.append("first")
        raise NotTaken("connection refused")

    sender = Sender(insist=False)
    sender.put(refuse)
    sender.put(lambda: attempts.append("second"))
    deadline = time.monotonic() + 5
    while len(attempts) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert attempts == ["first", "second"]


def test_a_refused_connection_is_one_line_without_the_payload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """oslo.messaging itself would write a traceback and the payload for each."""
    conf = read_conf(
        tmp_path,
        {
            "DEFAULT": {"host": "h1", "transport_url": "rabbit://u:secret@127.0.0.1:1/",
                        "state_path": str(tmp_path)},
            GROUP: {"driver": "messagingv2"},
        },
    )  # fmt: skip
    transport.make(conf)
    topics = Topics(conf)
    began = time.monotonic()

    with pytest.raises(NotTaken, match="refused"):
        topics.send(topics.legacy, RequestContext.admin(), "e", {"payload": "x"}, error=False)

    assert time.monotonic() - began < 5
    assert "Could not send" not in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    ("options", "wanted"), [({}, []), ({"driver": "noop"}, []), ({"driver": "log"}, ["log"])]
)
def test_drivers_that_do_something(
    tmp_path: Path, options: dict[str, str], wanted: list[str]
) -> None:
    """noop and nothing are the same."""
    assert wanted == drivers(read_conf(tmp_path, {GROUP: options}))


def test_without_a_driver_nothing_is_built(tmp_path: Path) -> None:
    """No transport, no thread."""
    before = threading.active_count()

    notifier = Notifier.from_conf(read_conf(tmp_path, {}), lambda context, image: image)

    assert not notifier.on
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("unversioned", ["compute.h1", None]),
        ("versioned", [None, "nova-compute:h1"]),
        ("both", ["compute.h1", "nova-compute:h1"]),
    ],
)
def test_formats(tmp_path: Path, form: str, wanted: list[str | None]) -> None:
    """``notification_format`` says which of the two is there, with stock's publisher ids."""
    conf = read_conf(
        tmp_path,
        {
            "DEFAULT": {"host": "h1", "transport_url": "fake://"},
            GROUP: {"driver": "test"},
            "notifications": {"notification_format": form},
        },
    )

    topics = Topics(conf)

    assert wanted == [n and n.publisher_id for n in (topics.legacy, topics.versioned)]
