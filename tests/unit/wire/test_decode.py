"""From Nova's objects and dicts to the model."""

from __future__ import annotations

import pytest

from nova_lite.wire.decode import is_uuid

UUID = "9c1a180a-1b90-4632-a16c-edd6302c3a7d"


@pytest.mark.parametrize("value", [UUID, UUID.upper()])
def test_a_uuid_is_one_in_either_case(value):
    """The services write it in small letters; users need not."""
    assert is_uuid(value)


@pytest.mark.parametrize(
    "value", [None, "", 5, ["a"], "friends", UUID.replace("-", ""), f"{{{UUID}}}", f"{UUID}\n"]
)
def test_anything_else_is_none(value):
    """Names may look like one without its hyphens; nothing else finds its record."""
    assert not is_uuid(value)
