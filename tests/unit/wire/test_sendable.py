"""What may be sent to a conductor: never an object that it could be too old for."""

from __future__ import annotations

import pytest

from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS, sendable

OURS = VERSIONS["Instance"]


@pytest.mark.parametrize("version", ["2.99", "2.10", "3.0", "x"])
def test_a_save_leaves_in_a_version_that_every_conductor_knows(version):
    """nova-conductor asks itself, for ever, to make older what is too new for it."""
    instance = WireObject.new("Instance", version, uuid="s1", colour="green")
    instance.clear_changes()
    instance.set(task_state=None)

    sent = instance.partial()

    assert sent.version == OURS
    assert sent.data == {"uuid": "s1", "task_state": None}


@pytest.mark.parametrize("version", ["2.0", "2.7", OURS])
def test_what_is_older_stays_what_it_is(version):
    """The receiver knows it: it sent it."""
    assert sendable("Instance", version) == version


def test_objects_that_are_not_ours_stay_what_they_are():
    """They are only passed on."""
    assert sendable("RequestSpec", "1.99") == "1.99"
