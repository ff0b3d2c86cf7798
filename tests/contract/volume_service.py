"""What the agent relies on of Cinder: the states that its calls lead to.

``tests/contract/cloud/test_volumes.py`` holds the stand-ins to it, ``tests/cloud/test_cinder.py`` a
real Cinder.
"""

from __future__ import annotations

import uuid

import pytest

from nova_lite import errors

CONNECTOR = {
    "host": "node1",
    "ip": "127.0.0.1",
    "platform": "x86_64",
    "os_type": "linux",
    "initiator": "iqn.1994-05.com.example:1",
    "multipath": False,
}


class VolumeServiceContract:
    """Needs the fixtures ``cinder`` (a client), ``context`` (a user's), and ``make_volume``
    (keyword arguments -> id of a volume that is available)."""

    @pytest.fixture
    def volume(self, make_volume):
        return make_volume()

    @pytest.fixture
    def status(self, cinder, context):
        return lambda volume: cinder.volume(context, volume)["status"]

    def test_an_attachment_s_way_to_in_use_and_back(self, cinder, context, volume, status):
        """Reserved, attaching, in-use, available; the connection stays to be read."""
        server = str(uuid.uuid4())

        made = cinder.create_attachment(context, volume, server)
        states = [(made["status"], status(volume))]
        updated = cinder.update_attachment(context, made["id"], CONNECTOR, "/dev/vdb")
        states.append((cinder.attachment(context, made["id"])["status"], status(volume)))
        cinder.complete_attachment(context, made["id"])
        read = cinder.attachment(context, made["id"])
        states.append((read["status"], status(volume)))
        (shown,) = cinder.volume(context, volume)["attachments"]
        cinder.delete_attachment(context, made["id"])

        assert states == [
            ("reserved", "reserved"),
            ("attaching", "attaching"),
            ("attached", "in-use"),
        ]
        assert status(volume) == "available"
        assert updated["connection_info"]["driver_volume_type"]
        assert read["connection_info"] == updated["connection_info"]
        assert (read["instance"], read["volume_id"]) == (server, volume)
        assert (shown["server_id"], shown["device"]) == (server, "/dev/vdb")
        assert shown["attachment_id"] == made["id"]
        assert cinder.attachments(context, server_uuid=server, volume_id=volume) == []

    def test_every_call_of_a_host_may_be_repeated(self, cinder, context, volume, status):
        """A host that was killed does it again: same states, and no second attachment."""
        server = str(uuid.uuid4())
        made = cinder.create_attachment(context, volume, server)

        for _ in range(2):
            cinder.update_attachment(context, made["id"], CONNECTOR, "/dev/vdb")
        for _ in range(2):
            cinder.complete_attachment(context, made["id"])
        in_use = status(volume)
        found = cinder.attachments(context, server_uuid=server, volume_id=volume)
        for _ in range(2):
            cinder.delete_attachment(context, made["id"])

        assert in_use == "in-use"
        assert [attachment["id"] for attachment in found] == [made["id"]]
        assert status(volume) == "available"

    def test_a_volume_in_use_is_nobody_else_s(self, cinder, context, volume):
        """Cinder refuses a second server from the reservation on."""
        first = cinder.create_attachment(context, volume, str(uuid.uuid4()))
        refused = []
        for step in (
            lambda: None,
            lambda: cinder.update_attachment(context, first["id"], CONNECTOR),
            lambda: cinder.complete_attachment(context, first["id"]),
        ):
            step()
            with pytest.raises(errors.VolumeRequestInvalid) as caught:
                cinder.create_attachment(context, volume, str(uuid.uuid4()))
            refused.append(caught.value.code)
        cinder.delete_attachment(context, first["id"])

        assert refused == [400, 400, 400]

    def test_a_reservation_is_given_back(self, cinder, context, volume, status):
        """Of an attach that failed before its host was told."""
        made = cinder.create_attachment(context, volume, str(uuid.uuid4()))
        cinder.delete_attachment(context, made["id"])

        assert status(volume) == "available"

    def test_a_volume_that_was_being_detached_stays(self, cinder, context, volume, status):
        """A guest kept it: in-use again; rolling back once more changes nothing."""
        made = cinder.create_attachment(context, volume, str(uuid.uuid4()))
        cinder.update_attachment(context, made["id"], CONNECTOR, "/dev/vdb")
        cinder.complete_attachment(context, made["id"])
        cinder._act(context, f"volumes/{volume}", "os-begin_detaching")
        detaching = status(volume)
        for _ in range(2):
            cinder.roll_detaching(context, volume)
        back = status(volume)
        cinder.delete_attachment(context, made["id"])

        assert (detaching, back) == ("detaching", "in-use")
        assert status(volume) == "available"

    def test_a_volume_that_is_attached_is_not_deleted(self, cinder, context, volume):
        made = cinder.create_attachment(context, volume, str(uuid.uuid4()))
        with pytest.raises(errors.VolumeRequestInvalid):
            cinder.delete_volume(context, volume)
        cinder.delete_attachment(context, made["id"])

        cinder.delete_volume(context, volume)

    def test_what_is_not_there(self, cinder, context):
        """Not found, under the name of what was looked for; deleting it is success."""
        nothing = str(uuid.uuid4())
        with pytest.raises(errors.VolumeNotFound):
            cinder.volume(context, nothing)
        with pytest.raises(errors.VolumeAttachmentNotFound):
            cinder.attachment(context, nothing)
        with pytest.raises(errors.SnapshotNotFound):
            cinder.snapshot(context, nothing)
        with pytest.raises(errors.VolumeNotFound):
            cinder.create_attachment(context, nothing, str(uuid.uuid4()))
        cinder.delete_attachment(context, nothing)
        cinder.delete_volume(context, nothing)

    def test_volumes_are_found_by_what_was_written_on_them(self, cinder, context, make_volume):
        """A killed host finds what it made, and only that."""
        mark = str(uuid.uuid4())
        mine = make_volume(metadata={"made_for": mark, "index": "0"})
        make_volume(metadata={"made_for": mark, "index": "1"})

        found = cinder.find_volumes(context, {"made_for": mark, "index": "0"})

        assert [volume["id"] for volume in found] == [mine]
        assert cinder.find_volumes(context, {"made_for": str(uuid.uuid4())}) == []

    def test_a_plain_volume_has_no_encryption(self, cinder, context, volume):
        assert cinder.encryption(context, volume)["encryption_key_id"] is None
