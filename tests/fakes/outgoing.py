"""What leaves an agent, held to the objects that the control planes of all releases know.

The stand-ins for nova-conductor and for other hosts pass everything that they are sent through
here, so that each test of a verb holds its messages to it.
"""

from __future__ import annotations

import json
from pathlib import Path

from nova_lite.wire.objects import unwrap
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import RELEASES

# Class -> version by release, as nova's own registry has it.
KNOWN = json.loads((Path(__file__).parents[1] / "data/object_versions.json").read_text())
NAME, VERSION = "nova_object.name", "nova_object.version"


def numbers(version):
    return [int(part) for part in version.split(".")]


def objects_in(value):
    """All objects of a message, also those in text (ComputeNode.numa_topology)."""
    if isinstance(value, str) and value.startswith("{") and NAME in value:
        value = json.loads(value)
    if isinstance(value, dict):
        if NAME in value:
            yield value
        for item in value.values():
            yield from objects_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)


def too_new(value, release):
    """Objects of a message that a control plane of this release cannot read."""
    return _unknown(_kinds(value), KNOWN[release])


def hold(value):
    """Assert that what is sent can be read by each release, if it is the one found."""
    kinds = _kinds(unwrap(value))
    for release in RELEASES:
        # What is right leaves as it is: a test of Outgoing.
        if _unknown(kinds, KNOWN[release.name]):
            wrong = too_new(Outgoing(release).fitting(value), release.name)
            assert not wrong, f"{release.name} does not know {', '.join(wrong)}"


def _kinds(value):
    return {(found[NAME], found[VERSION]) for found in objects_in(value)}


def _unknown(kinds, known):
    return [
        f"{name} {version}"
        for name, version in sorted(kinds)
        if name not in known
        or numbers(version)[0] != numbers(known[name])[0]
        or numbers(version) > numbers(known[name])
    ]


def hold_manifest(versions):
    """Assert that each release knows the versions that are asked for."""
    for release, known in KNOWN.items():
        asked_too_much = {
            name: version
            for name, version in versions.items()
            if name not in known or numbers(version) > numbers(known[name])
        }
        assert not asked_too_much, f"{release} does not have {asked_too_much}"
