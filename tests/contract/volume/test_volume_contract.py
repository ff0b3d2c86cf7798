"""What every volume driver promises, whatever brings the volume here (drivers/volume/base.py)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nova_lite.errors import InvalidVolume, VolumeAttachFailed
from tests.contract.volume.conftest import SECRET, Case

SERVER = "3b0f1c3e-0000-4000-8000-000000000001"
OTHER = "3b0f1c3e-0000-4000-8000-000000000002"
GIB = 1024**3


def test_a_connected_volume_has_a_source(case: Case) -> None:
    """A guest's disk can be made of what is kept, and the volume is within reach."""
    kept = case.connect(case.connection("vol1"), SERVER)

    source = case.agent().source(kept)

    assert source.path
    assert source.type in ("file", "block", "network")
    assert (source.network is not None) == (source.type == "network")
    assert source.format in ("raw", "qcow2")
    assert case.reachable(kept)


def test_what_is_kept_is_json_and_enough(case: Case) -> None:
    """It goes into the database and comes back in another agent's hands, maybe a stock one's."""
    kept = case.connect(case.connection("vol1"), SERVER)
    back = replace(kept, data=json.loads(json.dumps(dict(kept.data))))

    assert case.agent().source(back) == case.agent().source(kept)
    case.agent().disconnect(back, SERVER)
    assert not case.connects or not case.reachable(back)


def test_connecting_again_changes_nothing(case: Case) -> None:
    """As a resumed operation does, and every start of a server."""
    kept = case.connect(case.connection("vol1"), SERVER)

    again = case.connect(kept, SERVER)

    assert again == kept
    assert case.reachable(kept)


def test_disconnecting_again_is_success(case: Case) -> None:
    """As a resumed operation does."""
    kept = case.connect(case.connection("vol1"), SERVER)

    for _ in range(2):
        case.agent().disconnect(kept, SERVER)

    assert not case.connects or not case.reachable(kept)


def test_disconnecting_what_was_never_connected_is_success(case: Case) -> None:
    """As the rollback of an attachment that failed early does."""
    connection = case.connection("vol1")

    case.agent().disconnect(connection, SERVER)
    case.agent().disconnect(connection, SERVER, force=True)

    assert not case.connects or not case.reachable(connection)


def test_another_volume_of_the_target_stays(case: Case) -> None:
    """The same target, session or mount serves both."""
    one = case.connect(case.connection("vol1"), SERVER)
    two = case.connect(case.connection("vol2"), SERVER)

    case.agent().disconnect(one, SERVER)
    assert case.reachable(two)

    case.agent().disconnect(two, SERVER)
    assert not case.connects or not (case.reachable(one) or case.reachable(two))


def test_another_servers_volume_stays(case: Case) -> None:
    """A volume for several servers of this host goes with the last of them."""
    volume = case.connection("vol1", multiattach=True)
    one, two = case.connect(volume, SERVER), case.connect(volume, OTHER)

    case.agent().disconnect(one, SERVER)
    case.agent().disconnect(one, SERVER)
    assert case.reachable(two)

    case.agent().disconnect(two, OTHER)
    assert not case.connects or not case.reachable(two)


def test_a_connection_that_lacks_something_is_named(case: Case) -> None:
    """The message says which volume and what, and no secret."""
    connection = case.connection("vol1")
    data = {key: value for key, value in connection.data.items() if key != case.needs}

    with pytest.raises(InvalidVolume, match="vol1") as raised:
        case.agent().source(replace(connection, data=data))

    assert str(case.needs) in raised.value.message
    assert SECRET not in raised.value.message


def test_a_failure_names_the_volume_and_no_secret(case: Case) -> None:
    """It ends up in the server's fault, which its user reads."""
    case.fail()

    with pytest.raises(VolumeAttachFailed, match="vol1") as raised:
        case.connect(case.connection("vol1"), SERVER)

    assert SECRET not in raised.value.message
    assert raised.value.__cause__ is None


def test_after_a_failure_the_same_volume_can_be_disconnected(case: Case) -> None:
    """So ends an attachment that failed."""
    case.fail()
    connection = case.connection("vol1")
    with pytest.raises(VolumeAttachFailed):
        case.connect(connection, SERVER)

    case.failure = None
    case.agent().disconnect(connection, SERVER)

    assert not case.reachable(connection)


def test_a_connection_shows_no_data(case: Case) -> None:
    """However somebody prints it."""
    assert SECRET not in repr(case.connection("vol1"))


def test_a_grown_volume_has_a_size(case: Case) -> None:
    """In bytes, for the guest's disk; a device says itself how large it is by now."""
    kept = case.connect(case.connection("vol1"), SERVER)

    size = case.agent().extend(kept, 2 * GIB)

    assert isinstance(size, int)
    assert size > 0
