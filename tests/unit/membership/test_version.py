"""The service version is a promise to every control plane of the four releases."""

from __future__ import annotations

import pytest

from nova_lite.errors import ServiceTooOld
from nova_lite.membership.version import choose


@pytest.mark.parametrize(
    ("control_plane", "floor", "wanted"),
    [
        (68, 0, 68),
        (70, 66, 70),
        (72, 72, 72),
        (74, 0, 74),
        (76, 74, 74),  # a control plane newer than this agent
        (None, 0, 72),  # no conductor record: the number that suits all four
        (68, 70, 70),  # the cell's computes are ahead of the conductor
    ],
)
def test_it_follows_the_control_plane(control_plane, floor, wanted):
    """The conductor's own version, within what this agent keeps the promises of."""
    assert choose(None, control_plane, floor) == wanted


def test_the_operator_decides():
    """A configured version is reported as it is."""
    assert choose(70, 74, 0) == 70


def test_a_cell_newer_than_this_agent_is_refused():
    """Joining would be refused by the conductor; the remedy is named here."""
    with pytest.raises(ServiceTooOld, match="upgrade nova_lite"):
        choose(None, 80, 80)


def test_a_configured_version_below_the_cell_is_refused():
    """The option to change is named."""
    with pytest.raises(ServiceTooOld, match=r"\[nova_lite\]service_version"):
        choose(68, 74, 72)
