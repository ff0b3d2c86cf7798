"""What leaves for a control plane: only what its release knows."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from nova_lite.errors import ObjectUnknown
from nova_lite.membership import version
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import OLDEST, RELEASES, YOUNGER_FIELDS, of_service
from nova_lite.wire.serializer import NovaSerializer
from nova_lite.wire.versions import VERSIONS

RECORD = json.loads((Path(__file__).parents[2] / "data/object_versions.json").read_text())
NEWEST = RELEASES[-1]


def image_properties(number="1.44", **fields):
    return WireObject.new("ImageMetaProps", number, **fields)


def request_spec(properties):
    image = WireObject.new("ImageMeta", "1.8", properties=properties)
    return WireObject.new("RequestSpec", "1.15", image=image, num_instances=1)


def sent(value, release):
    return Outgoing(release).fitting(value)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_the_tables_are_those_of_nova(release):
    """Every class that nova registers, with its version."""
    assert release.objects == RECORD[release.name]


def test_what_is_made_here_every_release_knows():
    """VERSIONS are those of the oldest one."""
    assert VERSIONS.items() <= OLDEST.objects.items()


@pytest.mark.parametrize(
    ("service", "name"),
    [
        (None, "2025.1"), (0, "2025.1"), (66, "2025.1"), (68, "2025.1"), (69, "2025.1"),
        (70, "2025.2"), (72, "2026.1"), (73, "2026.1"), (74, "2026.2"), (80, "2026.2"),
    ],
)  # fmt: skip
def test_the_release_of_a_service_version(service, name):
    """What lies between two releases is as good as the older one."""
    assert of_service(service).name == name


def test_the_versions_that_may_be_reported_are_those_of_the_releases():
    """One table, not two."""
    assert version.SUPPORTED == (68, 70, 72, 74)


@pytest.mark.parametrize(
    ("release", "number", "left_out"),
    [
        ("2025.1", "1.39", {"hw_sound_model", "hw_usb_model", "hw_mem_encryption_model"}),
        ("2025.2", "1.42", set()),
        ("2026.1", "1.42", set()),
        ("2026.2", "1.44", set()),
    ],
)
def test_what_is_newer_is_made_older_wherever_it_is(release, number, left_out):
    """As nova-conductor does it: the version it knows, without the younger fields."""
    fields = dict.fromkeys(
        ("hw_sound_model", "hw_usb_model", "hw_mem_encryption_model", "hw_machine_type"), "x"
    )
    spec = request_spec(image_properties(**fields))
    before = copy.deepcopy(spec.primitive)
    found = next(row for row in RELEASES if row.name == release)

    made = sent([{"request_spec": spec}], found)

    properties = WireObject(made[0]["request_spec"])["image"]["properties"]
    assert properties.version == number
    assert set(properties.data) == set(fields) - left_out
    assert set(properties.changes) == set(fields) - left_out
    assert spec.primitive == before


def test_what_is_understood_is_not_copied():
    """Messages are large, and most of them are right."""
    spec = request_spec(image_properties("1.39"))

    assert sent(spec, OLDEST) is spec.primitive


def test_every_younger_field_goes_with_its_version():
    """The table of fields says the versions between the oldest and the newest release."""
    for name, fields in YOUNGER_FIELDS.items():
        obj = WireObject.new(name, NEWEST.objects[name], **dict.fromkeys(fields, "x"))
        assert set(sent(obj, NEWEST)["nova_object.data"]) == set(fields)
        assert sent(obj, OLDEST)["nova_object.data"] == {}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (WireObject.new("Hologram", "1.0"), "Hologram 1.0, .*2025.1.* has no such object"),
        (WireObject.new("Instance", "3.0"), "Instance 3.0, .*2025.1.* has version 2.8"),
        (
            WireObject.new("Instance", "2.8", fault=WireObject.new("Hologram", "1.0")),
            "Hologram 1.0",
        ),
    ],
    ids=["class", "major version", "nested"],
)
def test_what_cannot_be_made_older_is_refused(obj, words):
    """By name: nova-conductor would be busy with it for ever, and this host see a time-out."""
    with pytest.raises(ObjectUnknown, match=words):
        NovaSerializer(Outgoing()).serialize_entity(RequestContext({}), {"instance": obj})


def test_it_learns_of_another_release():
    """The oldest conductor counts; unknown is the oldest release."""
    outgoing = Outgoing()
    properties = image_properties(hw_sound_model="ich9")

    outgoing.learn(74)
    assert outgoing.fitting(properties) is properties.primitive
    outgoing.learn(None)
    assert outgoing.fitting(properties)["nova_object.version"] == "1.39"
