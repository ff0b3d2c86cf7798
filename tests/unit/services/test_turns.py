"""Few servers leave a host at once, in the order in which they came."""

from __future__ import annotations

import threading

from nova_lite.services.turns import Turns

NOBODY = threading.Event()


def waiting(turns, server, got, cancelled=NOBODY):
    def wait():
        got.append((server, turns.wait(server, cancelled)))

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_the_first_that_waits_is_the_next():
    """Nobody who comes later is faster."""
    turns, got = Turns(1), []
    assert turns.is_free("a")
    first = waiting(turns, "b", got)
    while not turns._waiting:
        pass
    assert not turns.is_free("c")

    turns.give_back("a")
    first.join(10)

    assert got == [("b", True)]
    assert not turns.is_free("c")
    turns.give_back("b")
    assert turns.is_free("c")


def test_a_turn_is_taken_once():
    """By the same server again it costs no other place."""
    turns = Turns(2)
    assert turns.is_free("a")
    assert turns.is_free("a")
    assert turns.is_free("b")
    assert not turns.is_free("c")


def test_what_has_begun_goes_on():
    """After a restart there may be more than the limit."""
    turns = Turns(1)
    turns.take("a")
    turns.take("b")
    turns.give_back("a")
    assert not turns.is_free("c")
    turns.give_back("b")
    assert turns.is_free("c")


def test_no_limit():
    """0 is as many as are wanted."""
    turns = Turns(0)
    assert all(turns.is_free(str(number)) for number in range(100))


def test_who_is_cancelled_does_not_wait():
    """And keeps nobody behind it from its turn."""
    turns, got, cancelled = Turns(1), [], threading.Event()
    assert turns.is_free("a")
    thread = waiting(turns, "b", got, cancelled)
    cancelled.set()
    thread.join(10)
    assert got == [("b", False)]
    turns.give_back("a")
    assert turns.is_free("c")
