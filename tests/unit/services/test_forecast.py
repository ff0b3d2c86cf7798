"""How long live migrations take, by arithmetic and by what libvirt told of real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_lite.services.forecast import (
    SWITCH_MS,
    Limits,
    Load,
    Method,
    auto_converge,
    choose,
    post_copy,
    pre_copy,
    working_set,
)

MIB = 1024**2
GIB = 1024 * MIB
# Half a second may be stopped for at any time, a quarter of an hour is fine.
LIMITS = Limits(downtime_steps=((0, 500),), timeout_s=900)
ALL = replace(LIMITS, methods=frozenset(Method))
LINK = 1000 * MIB
IDLE = Load(memory=4 * GIB, dirty_rate=0)
MEDIUM = Load(memory=4 * GIB, dirty_rate=600 * MIB)
HEAVY = Load(memory=4 * GIB, dirty_rate=2000 * MIB)


def test_a_guest_that_writes_nothing_is_sent_once() -> None:
    """Its memory by the bandwidth, and a stop that is none of the memory's."""
    found = pre_copy(IDLE, LINK, LIMITS)

    assert (found.seconds, found.downtime_ms, found.passes) == (
        pytest.approx(4.096 + SWITCH_MS / 1000), SWITCH_MS, 1
    )  # fmt: skip


def test_what_is_written_meanwhile_is_sent_again() -> None:
    """Each pass is 0.6 of the one before, until half a second is enough: 4.096 s times 0.6 five
    times are 0.319 s."""
    found = pre_copy(MEDIUM, LINK, LIMITS)

    assert found.passes == 5
    assert found.downtime_ms == pytest.approx(4096 * 0.6**5 + SWITCH_MS, abs=1)
    assert found.seconds == pytest.approx(
        sum(4.096 * 0.6**number for number in range(6)) + SWITCH_MS / 1000
    )


def test_a_guest_that_writes_faster_than_the_link_never_arrives() -> None:
    """But for a stop that is long enough for all that it ever writes to."""
    assert pre_copy(HEAVY, LINK, LIMITS).seconds is None
    small = replace(HEAVY, working_set=300 * MIB)
    found = pre_copy(small, LINK, LIMITS)
    assert (found.passes, found.downtime_ms) == (1, 300 + SWITCH_MS)


def test_the_permitted_stop_grows_with_time() -> None:
    """A guest whose writes take 0.4 s waits for the step that permits that."""
    load = replace(HEAVY, working_set=400 * MIB)
    steps = Limits(downtime_steps=((0, 50), (75, 200), (150, 500)), timeout_s=900)

    found = pre_copy(load, LINK, steps)

    assert found.seconds is not None
    assert 150 < found.seconds < 151
    assert pre_copy(load, LINK, replace(steps, downtime_steps=((0, 50), (75, 200)))).seconds is None


def test_a_small_working_set_waits_for_its_step_as_long_as_that_takes() -> None:
    """Thousands of passes of 50 ms, until a stop of 50 ms is permitted; each sends it again."""
    load = replace(HEAVY, working_set=50 * MIB)

    found = pre_copy(load, LINK, Limits(downtime_steps=((0, 40), (1500, 60))))

    assert found.seconds == pytest.approx(1500, abs=0.2)
    assert found.passes > 20_000
    assert found.sent == pytest.approx(1500 * LINK, rel=0.01)


def test_auto_converge_takes_time_from_the_guest() -> None:
    """It ends where pre-copy does not, and says how long the guest is slow."""
    found = auto_converge(HEAVY, LINK, LIMITS)

    assert found.seconds is not None
    assert 10 < found.seconds < 200
    assert 0 < found.slowed_s < found.seconds
    # A guest that pre-copy copes with is hardly touched.
    assert auto_converge(IDLE, LINK, LIMITS).slowed_s == 0


def test_post_copy_always_ends() -> None:
    """One pass and what was written to meanwhile; the stop is the shortest."""
    found = post_copy(HEAVY, LINK, LIMITS)

    assert (found.seconds, found.downtime_ms) == (pytest.approx(2 * 4.096), SWITCH_MS)
    assert found.slowed_s == pytest.approx(4.096)


def test_disks_come_first() -> None:
    """They take their time before a pass over the memory begins."""
    disks = 10 * GIB
    for forecast in (pre_copy, auto_converge, post_copy):
        plain = forecast(IDLE, LINK, LIMITS)
        with_disks = forecast(replace(IDLE, disks=disks), LINK, LIMITS)
        assert plain.seconds is not None
        assert with_disks.seconds == pytest.approx(plain.seconds + disks / LINK)


@pytest.mark.parametrize(
    ("load", "method"),
    [(IDLE, Method.PRE_COPY), (MEDIUM, Method.PRE_COPY), (HEAVY, Method.AUTO_CONVERGE)],
    ids=["idle", "medium", "heavy"],
)
def test_the_gentlest_way_is_chosen(load: Load, method: Method) -> None:
    """And the reason has the figures that it is based on."""
    choice = choose(load, LINK, ALL)

    assert choice.forecast is not None
    assert choice.forecast.method == method
    assert choice.reason.startswith(f"{method} takes ")
    assert f"the guest writes {load.dirty_rate // MIB} MiB/s, the link takes 1000 MiB/s" in (
        choice.reason
    )
    assert [forecast.method for forecast in choice.all] == list(Method)


def test_post_copy_where_time_is_short() -> None:
    """Auto-converge would take minutes."""
    choice = choose(HEAVY, LINK, replace(ALL, timeout_s=12))

    assert choice.forecast is not None
    assert choice.forecast.method == Method.POST_COPY


def test_what_would_not_end_is_not_begun() -> None:
    """The reason says what each permitted way would have taken."""
    choice = choose(HEAVY, LINK, replace(LIMITS, timeout_s=30))
    assert choice.forecast is None
    assert choice.reason == (
        "it would not end within 30 s: the guest writes 2000 MiB/s, the link takes 1000 MiB/s, "
        "4096 MiB are to be sent (pre-copy does not end)"
    )
    # Too slow a link is no different from too busy a guest.
    slow = choose(IDLE, 10 * MIB, replace(ALL, timeout_s=30))
    assert slow.forecast is None
    assert "pre-copy takes 455 s and stops the guest for 50 ms" in slow.reason


def test_without_a_link_there_is_no_forecast() -> None:
    """Nor an endless calculation."""
    with pytest.raises(ValueError, match="moves nothing"):
        choose(IDLE, 0, LIMITS)


def test_two_measurements_tell_the_working_set() -> None:
    """Where the longer one finds no more pages than the shorter; recorded of a guest that writes to
    48 MiB again and again, and of one that always finds new ones."""
    assert working_set((46137344, 1), (23068672, 2)) == 46137344
    assert working_set((46137344, 1), (46137344, 2)) is None
    assert working_set((4194304, 1), (1048576, 2)) is None


@pytest.mark.parametrize(("forecast", "longer"), [(pre_copy, 0.0), (post_copy, 0.25)])
def test_empty_memory_is_not_sent(forecast: Any, longer: float) -> None:
    """Whether it is written to on the way is another question: all of it may be."""
    permitted, busy = Limits(downtime_steps=((0, 300),)), 250 * MIB
    whole = forecast(Load(memory=4 * GIB, dirty_rate=0), 1000 * MIB, permitted)
    some = forecast(Load(memory=4 * GIB, dirty_rate=0, touched=GIB), 1000 * MIB, permitted)
    more = forecast(Load(memory=4 * GIB, dirty_rate=0, touched=9 * GIB), 1000 * MIB, permitted)
    assert some.sent == GIB
    assert some.seconds * 3.5 < whole.seconds
    assert more == whole

    writer = Load(memory=4 * GIB, dirty_rate=busy, touched=GIB)
    assert forecast(writer, 1000 * MIB, permitted).sent > GIB * (1 + longer * 0.9)


RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "live_migrations.json").read_text()
)


@pytest.mark.parametrize("record", RECORDED, ids=lambda record: record["guest"])
def test_real_migrations_went_as_forecast(record: dict[str, Any]) -> None:
    """Recorded with libvirt 9.0 and QEMU 7.2, of emulated guests of 64 MiB that write to 48 (the
    small set: to 4), over a link of 16 MiB/s; libvirt permits 300 ms by default. ``memory`` is what
    the first pass sent, without empty pages; ``setup_s`` was over before it began."""
    short, long = record["measured"]
    load = Load(
        record["memory"],
        # So small a guest has few pages that QEMU looks at: what it counted later is better.
        max(short, record["dirty_rate"]),
        working_set((short, 1), (long, 2)),
    )
    limits = Limits(downtime_steps=((0, 300),), methods=frozenset(Method))
    choice = choose(load, record["bandwidth"], limits)
    found = next(one for one in choice.all if one.method == record["method"])

    assert (found.seconds is not None) == record["ended"]
    if found.seconds is not None and found.downtime_ms is not None:
        seconds = found.seconds + record["setup_s"]
        assert record["seconds"] / 1.6 < seconds < record["seconds"] * 1.6
        assert found.downtime_ms <= 300 + SWITCH_MS
