"""How long a guest may stand still, the longer its migration takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.services.live_watch import downtime_steps


def options(downtime, steps, delay):
    return SimpleNamespace(
        live_migration_downtime=downtime,
        live_migration_downtime_steps=steps,
        live_migration_downtime_delay=delay,
    )


def test_the_steps_are_those_of_stock():
    """Its own example: 10 steps of 30 s for each GiB, 3 GiB, 400 ms."""
    found = downtime_steps(3, options(400, 10, 30))
    assert found[:3] == [(0, 40), (90, 76), (180, 112)]
    assert found[-1] == (900, 400)
    assert len(found) == 11


@pytest.mark.parametrize(("downtime", "steps"), [(100, 3), (500, 10), (2000, 7)])
def test_they_rise_to_the_whole(downtime, steps):
    """Never beyond it."""
    found = [milliseconds for _, milliseconds in downtime_steps(2.0, options(downtime, steps, 3))]
    assert found == sorted(found)
    assert (found[-1], len(found)) == (downtime, steps + 1)
