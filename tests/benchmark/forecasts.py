"""Forecasts of live migrations beside their outcomes, as the agent tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EVENT = "compute_live_migration_forecast"  # of the server's action
# The agent's line at the end: services/live_forecast.py, tell_outcome.
OUTCOME = re.compile(
    r"has gone to host \S+ in (?P<seconds>[\d.]+) s; it stood still for (?P<downtime_ms>\d+) ms, "
    r"(?P<sent_mib>\d+) MiB were sent; (?P<forecast>.*)"
)
FORECAST = re.compile(
    r"forecast: (?P<method>[\w-]+), (?P<seconds>[\d.]+) s, (?P<downtime_ms>\d+) ms, "
    r"(?P<sent_mib>\d+) MiB"
)
EMULATED = (
    "Guests are emulated here (TCG): both ends of a migration, the guest and whoever measures it "
    "share the same processors, and a guest writes more slowly while its pages are watched. The "
    "methods are worth reading, seconds are not; the arithmetic is checked against recorded "
    "migrations in tests/unit/services/test_forecast.py."
)


def outcome(log: str, server: str) -> dict[str, Any]:
    """What the agent has logged of a server's last migration; empty where it has not.

    ``expected`` is None where there was no forecast, or one that it would not end.
    """
    for line in reversed(log.splitlines()):
        found = OUTCOME.search(line) if server in line else None
        if found:
            expected = FORECAST.match(found["forecast"])
            return {
                "outcome": _numbers(found),
                "expected": None
                if expected is None
                else {"method": expected["method"], **_numbers(expected)},
            }
    return {}


def _numbers(found: re.Match[str]) -> dict[str, float]:
    return {name: float(found[name]) for name in ("seconds", "downtime_ms", "sent_mib")}


def table(forecasts: Mapping[str, Mapping[str, Any]]) -> str:
    """Aligned text: a guest in two lines, forecast and outcome; and why it went like that."""
    lines = ["forecast against outcome, by nova-lite"]
    for guest, found in forecasts.items():
        lines.append(f"{guest} guest, {found['guest']} MiB/s: {found['why']}")
        expected, real = found.get("expected"), found.get("outcome")
        if expected is None:
            lines.append("  forecast   none, or that it does not end")
        else:
            lines.append(f"  forecast {_figures(expected)}  {expected['method']}")
        if real is None:
            lines.append("  outcome    not in the agent's log")
        else:
            lines.append(f"  outcome  {_figures(real)}  {found['clock_ms']:.0f} ms by its clock")
    if any(found["emulated"] for found in forecasts.values()):
        lines.append(EMULATED)
    return "\n".join(lines)


def _figures(found: Mapping[str, float]) -> str:
    return (
        f"{found['seconds']:7.1f} s  {found['downtime_ms']:6.0f} ms  {found['sent_mib']:6.0f} MiB"
    )
