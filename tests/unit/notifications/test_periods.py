"""Audit periods, checked against times by hand."""

from __future__ import annotations

from datetime import datetime

import pytest

from nova_lite.errors import InvalidConfiguration
from nova_lite.notifications.periods import current, last_completed, parse

NOW = datetime(2026, 3, 2, 10, 20, 30)


@pytest.mark.parametrize(
    ("setting", "beginning", "ending"),
    [
        ("hour", "2026-03-02 09:00", "2026-03-02 10:00"),
        ("hour@15", "2026-03-02 09:15", "2026-03-02 10:15"),
        ("hour@30", "2026-03-02 08:30", "2026-03-02 09:30"),
        ("day", "2026-03-01 00:00", "2026-03-02 00:00"),
        ("day@18", "2026-02-28 18:00", "2026-03-01 18:00"),
        ("month", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("month@2", "2026-02-02 00:00", "2026-03-02 00:00"),
        ("month@15", "2026-01-15 00:00", "2026-02-15 00:00"),
        ("year", "2025-01-01 00:00", "2026-01-01 00:00"),
        ("year@3", "2025-03-01 00:00", "2026-03-01 00:00"),
        ("year@12", "2024-12-01 00:00", "2025-12-01 00:00"),
    ],
)
def test_last_completed_period(setting: str, beginning: str, ending: str) -> None:
    """The newest period that is over."""
    found = last_completed(setting, NOW)

    assert (beginning, ending) == tuple(f"{time:%Y-%m-%d %H:%M}" for time in found)


def test_january_looks_back_into_the_year_before() -> None:
    """Months are counted across the turn of the year."""
    found = last_completed("month", datetime(2026, 1, 10))

    assert found == (datetime(2025, 12, 1), datetime(2026, 1, 1))


def test_a_period_is_over_only_after_its_end() -> None:
    """At the very moment it still runs."""
    assert last_completed("day", datetime(2026, 3, 2)).ending == datetime(2026, 3, 1)


def test_the_current_period_goes_up_to_now() -> None:
    """What an exists before a rebuild is about."""
    assert current("month", NOW) == (datetime(2026, 3, 1), NOW)


@pytest.mark.parametrize("setting", ["hour@60", "day@24", "month@29", "year@13"])
def test_impossible_offsets_are_refused_by_name(setting: str) -> None:
    """Not every month has a 29th day."""
    with pytest.raises(InvalidConfiguration, match="instance_usage_audit_period"):
        parse(setting)
