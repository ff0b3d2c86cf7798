"""Recorded messages of computes, as they leave for the control plane of each release."""

from __future__ import annotations

import json

import pytest

from nova_lite.wire.versions import VERSIONS, manifest
from tests.fakes.outgoing import KNOWN, hold, hold_manifest, objects_in, too_new
from tests.wire import recorded

METHODS = [(release, path) for release in recorded.ALL for path in recorded.paths(release)]


def messages(path):
    """What was sent and answered in a recorded method."""
    for exchange in json.loads(path.read_text()):
        yield exchange["request"]["args"]
        for reply in exchange.get("replies") or ():
            yield reply.get("result")


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=f"{release}-{path.stem}") for release, path in METHODS]
)
def test_every_recorded_message_can_be_sent_to_every_release(path):
    """Whatever one release sends, its requests and answers passed on, is understood by all."""
    for message in messages(path):
        hold(message)


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_every_version_asked_for_is_known_to_every_release(name):
    """A conductor cannot answer in one that it does not have."""
    hold_manifest(manifest(name))


@pytest.mark.parametrize("release", recorded.ALL[1:])
def test_recordings_have_what_an_old_control_plane_does_not_know(release):
    """Else the test above could not fail."""
    newer = {
        row
        for path in recorded.paths(release)
        for message in messages(path)
        for row in too_new(message, "2025.1")
    }
    assert f"ImageMetaProps {KNOWN[release]['ImageMetaProps']}" in newer


def test_objects_in_text_are_found():
    """The NUMA topology of a host is an object written as text."""
    text = json.dumps({"nova_object.name": "NUMATopology", "nova_object.version": "1.2",
                       "nova_object.data": {}})  # fmt: skip
    assert [found["nova_object.name"] for found in objects_in({"numa_topology": text})]
    assert set(KNOWN) == {"2025.1", "2025.2", "2026.1", "2026.2"}
