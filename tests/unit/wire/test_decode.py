"""From Nova's objects and dicts to the model."""

from __future__ import annotations

import pytest

from nova_lite.wire.decode import domain_name, is_uuid
from nova_lite.wire.objects import WireObject

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


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("instance-%08x", "instance-000000ae"),
        ("%d", "174"),
        ("vm-%(uuid)s", f"vm-{UUID}"),
        ("%(hostname)s-%(id)05d", "web-00174"),
        ("%(project_id)s-%(launch_index)d", "p1-0"),
        ("%(created_at)s", "2026-11-21 08:47:46+00:00"),
        ("%(locked_by)s", UUID),  # a field that was not sent
        ("%(uuid", UUID),
        ("%d-%d", UUID),
    ],
)
def test_domains_are_named_as_nova_api_says(template, name):
    """It shows the name (OS-EXT-SRV-ATTR:instance_name), and nova-compute has used it."""
    fields = {"id": 174, "hostname": "web", "project_id": "p1", "launch_index": 0}
    times = {"created_at": "2026-11-21T08:47:46Z"}
    instance = WireObject.new("Instance", "2.8", uuid=UUID, **fields, **times)

    assert domain_name(instance, template) == name
