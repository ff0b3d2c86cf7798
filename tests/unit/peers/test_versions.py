"""What [upgrade_levels]compute and a service version allow."""

from __future__ import annotations

import pytest

from nova_lite.errors import InvalidConfiguration
from nova_lite.peers import versions


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (None, (6, 5)),
        ("auto", (6, 5)),
        ("6.0", (6, 0)),
        ("6.4", (6, 4)),
        ("6.17", (6, 5)),  # newer than this agent: its own newest
        ("dalmatian", (6, 3)),
        ("epoxy", (6, 4)),
        ("flamingo", (6, 4)),
        ("gazpacho", (6, 5)),
        ("hibiscus", (6, 5)),
    ],
)
def test_pins(value, version):
    """Numbers, releases, and what means no pin."""
    assert versions.pinned(value) == version


@pytest.mark.parametrize("value", ["", "5.13", "7.0", "6", "6.x", "victoria", "Epoxy", "2025.1"])
def test_a_pin_that_makes_no_sense_names_the_option(value):
    """With it no other host could be spoken to."""
    with pytest.raises(InvalidConfiguration, match=r"\[upgrade_levels\]compute is .*6\.0 to 6\.5"):
        versions.pinned(value)


@pytest.mark.parametrize(
    ("service", "version"),
    [
        (55, None), (56, (6, 0)), (63, (6, 0)), (64, (6, 1)), (66, (6, 2)), (67, (6, 3)),
        (68, (6, 4)), (70, (6, 4)), (71, (6, 5)), (74, (6, 5)), (99, (6, 5)),
    ],
)  # fmt: skip
def test_service_versions(service, version):
    """The releases from 2025.1 report 68, 70, 72 and 74."""
    assert versions.of_service(service) == version
