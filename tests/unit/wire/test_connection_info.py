"""connection_info: what Cinder answers, what Nova keeps, what stock agents wrote."""

import json

import pytest

from nova_lite import errors
from nova_lite.wire import connection_info

VOLUME = "8c7a40c1-88f9-4314-ab58-6448eb8cdb00"
SERVER = "8f9e2550-499f-4e8e-906f-a1877527f9b6"
# As a stock 2026.2 agent saved it for a volume on Ceph.
STOCK = {
    "driver_volume_type": "rbd",
    "data": {
        "name": f"volumes/volume-{VOLUME}",
        "hosts": ["127.0.0.1"],
        "ports": ["6789"],
        "auth_enabled": True,
        "auth_username": "cinder",
        "discard": True,
        "qos_specs": None,
        "access_mode": "rw",
        "encrypted": False,
    },
    "status": "reserved",
    "instance": SERVER,
    "attached_at": "",
    "detached_at": "",
    "volume_id": VOLUME,
    "serial": VOLUME,
}


def test_what_stock_wrote_is_written_the_same_again():
    """A server goes between stock and nova_lite without its volumes noticing."""
    connection = connection_info.load(json.dumps(STOCK), VOLUME)

    assert json.loads(connection_info.dump(connection)) == STOCK
    assert (connection.type, connection.discard, connection.readonly) == ("rbd", True, False)


def test_cinders_flat_answer_is_nested_as_stock_does():
    """The attachments API answers without ``data``; what belongs to the driver goes there."""
    answer = {
        "id": "a1",
        "status": "reserved",
        "instance": SERVER,
        "attached_at": "",
        "detached_at": "",
        "connection_info": {"driver_volume_type": "rbd", **STOCK["data"]},
    }
    connection = connection_info.from_cinder(answer, VOLUME, multiattach=False)

    assert json.loads(connection_info.dump(connection)) == STOCK


def test_multiattach_is_kept():
    """A start after an attach must know that the disk is shared."""
    answer = {"connection_info": {"driver_volume_type": "rbd"}}
    text = connection_info.dump(connection_info.from_cinder(answer, VOLUME, multiattach=True))

    assert connection_info.load(text, VOLUME).multiattach


def test_an_attachment_without_connection_is_refused_by_name():
    """Cinder's volume service may have failed to export the volume."""
    with pytest.raises(errors.InvalidVolume, match="attachment a1 of volume 8c7a40c1"):
        connection_info.from_cinder({"id": "a1", "connection_info": {}}, VOLUME, False)


@pytest.mark.parametrize("text", [None, "", "null", "{}"])
def test_a_volume_nobody_connected_has_no_connection(text):
    """The API makes block device mappings before any host connects their volumes."""
    assert connection_info.load(text, VOLUME) is None


@pytest.mark.parametrize("text", ["{", "[1]", '{"driver_volume_type": "rbd", "data": 3}'])
def test_text_that_no_agent_writes_is_refused_without_repeating_it(text):
    """The text may hold passwords."""
    with pytest.raises(errors.InvalidVolume, match=VOLUME) as caught:
        connection_info.load(text, VOLUME)
    assert text not in str(caught.value)


def test_secrets_of_a_connection_are_not_in_its_repr():
    """CHAP passwords must not reach a log by way of a dataclass."""
    secret = {"driver_volume_type": "iscsi", "data": {"auth_password": "chap-secret"}}
    connection = connection_info.load(json.dumps(secret), VOLUME)

    assert "chap-secret" not in repr(connection)
