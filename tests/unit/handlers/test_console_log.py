"""Console output: how much of it, and of which guests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.errors import ConsoleNotAvailable, MalformedMessage, ServerNotReady
from nova_lite.handlers.console_log import ConsoleLog
from nova_lite.wire.objects import WireObject

INSTANCE = WireObject.new("Instance", "2.8", uuid="s1")


@pytest.fixture
def consoles(tmp_path):
    tools = SimpleNamespace(
        conf=SimpleNamespace(instances_path=str(tmp_path)),
        hypervisor=SimpleNamespace(defined=lambda uuid: True),
    )
    return ConsoleLog(tools)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "s1").mkdir()
    path = tmp_path / "s1" / "console.log"
    path.write_bytes(b"one\ntwo\nthree\n")
    return path


@pytest.mark.parametrize(
    ("length", "text"),
    [(None, "one\ntwo\nthree\n"), ("", "one\ntwo\nthree\n"), (2, "three\n"), ("1", ""), (0, ""),
     (99, "one\ntwo\nthree\n"), (-1, "two\nthree\n"), ("-9", "")],
)  # fmt: skip
def test_the_tail_is_counted_in_lines(consoles, log, length, text):
    """As with stock: what follows the last newline is a line; a negative number skips lines."""
    assert consoles.get_console_output(None, INSTANCE, length) == text


def test_only_the_end_of_a_long_log_is_read(consoles, log):
    """A guest cannot fill the broker: 100 KiB are the limit, rotated logs included."""
    log.with_name("console.log.0").write_bytes(b"old\n" * 100_000)
    log.write_bytes(b"new\n" * 10)

    text = consoles.get_console_output(None, INSTANCE)

    assert len(text) == 100 * 1024
    assert text.endswith("old\n" + "new\n" * 10)


def test_all_rotated_logs_are_read_in_order(consoles, log):
    """virtlogd numbers them from 0, the youngest."""
    log.with_name("console.log.0").write_bytes(b"second\n")
    log.with_name("console.log.1").write_bytes(b"first\n")

    assert consoles.get_console_output(None, INSTANCE, None).startswith("first\nsecond\none\n")


def test_bytes_that_are_no_text_are_replaced(consoles, log):
    """The reply must be JSON."""
    log.write_bytes(b"caf\xe9\n")

    assert consoles.get_console_output(None, INSTANCE) == "caf?\n"


def test_no_log_and_no_guest_are_told_apart(consoles, tmp_path):
    """404 when there is no console, 409 while there is no guest."""
    with pytest.raises(ConsoleNotAvailable):
        consoles.get_console_output(None, INSTANCE)
    consoles._tools.hypervisor.defined = lambda uuid: False
    with pytest.raises(ServerNotReady):
        consoles.get_console_output(None, INSTANCE)


def test_a_length_that_is_no_number_is_refused(consoles, log):
    """The value is named."""
    with pytest.raises(MalformedMessage, match="'many'"):
        consoles.get_console_output(None, INSTANCE, "many")
