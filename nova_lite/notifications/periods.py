"""The periods of the usage audit: hours, days, months or years in UTC, each with an offset."""

from __future__ import annotations

import datetime
from typing import NamedTuple

from nova_lite.errors import InvalidConfiguration

# How far an offset may go: minute, hour, day of the month, month of the year.
_OFFSETS = {"hour": range(60), "day": range(24), "month": range(1, 29), "year": range(1, 13)}


class Period(NamedTuple):
    """Naive UTC times."""

    beginning: datetime.datetime
    ending: datetime.datetime


def parse(setting: str) -> tuple[str, int]:
    """(unit, offset) of ``instance_usage_audit_period``, such as ``month`` or ``day@18``.

    Months and years begin with the day or month 1, which an offset of 0 means, too.

    :raises InvalidConfiguration: there is no such minute, hour, day or month in every such period
    """
    unit, _, text = setting.partition("@")
    offset = int(text or 0)
    if unit in ("month", "year"):
        offset = offset or 1
    allowed = _OFFSETS[unit]
    if offset not in allowed:
        raise InvalidConfiguration(
            f"[DEFAULT]instance_usage_audit_period is {setting!r}: the offset of a {unit} is "
            f"{allowed.start} to {allowed.stop - 1}"
        )
    return unit, offset


def last_completed(setting: str, now: datetime.datetime) -> Period:
    """The newest period that ended before ``now``.

    :param now: naive, UTC
    """
    unit, offset = parse(setting)
    ending = _begin(unit, offset, now)
    if ending >= now:
        ending = _earlier(unit, ending)
    return Period(_earlier(unit, ending), ending)


def current(setting: str, now: datetime.datetime) -> Period:
    """The period that runs now, up to ``now``."""
    return Period(last_completed(setting, now).ending, now)


def _begin(unit: str, offset: int, now: datetime.datetime) -> datetime.datetime:
    hour = now.replace(minute=0, second=0, microsecond=0)
    if unit == "hour":
        return hour.replace(minute=offset)
    midnight = hour.replace(hour=0)
    if unit == "day":
        return midnight.replace(hour=offset)
    if unit == "month":
        return midnight.replace(day=offset)
    return midnight.replace(month=offset, day=1)


def _earlier(unit: str, moment: datetime.datetime) -> datetime.datetime:
    """One period before."""
    if unit == "hour":
        return moment - datetime.timedelta(hours=1)
    if unit == "day":
        return moment - datetime.timedelta(days=1)
    if unit == "year":
        return moment.replace(year=moment.year - 1)
    last_month = moment.replace(day=1) - datetime.timedelta(days=1)
    return last_month.replace(day=moment.day)
