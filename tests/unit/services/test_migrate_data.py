"""What the hosts of a live migration tell each other, read as stock writes it, and written so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nova_lite.errors import MalformedMessage
from nova_lite.services import migrate_data
from nova_lite.services.migrate_data import MovedVolume, Pins
from nova_lite.wire import confidential
from nova_lite.wire.objects import WireObject, unwrap, wrap
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import of_service
from tests.fakes.ports import VIF

METHODS = Path(__file__).parents[2] / "wire/data/methods"


def recorded(method, number=0):
    """Argument and answer of a recorded call."""
    call = json.loads((METHODS / f"{method}.json").read_text())[number]
    asked = wrap(call["request"]["args"])
    return asked, wrap(call["replies"][0]["result"])


def test_ports_are_plugged_by_the_bindings_of_the_conductor():
    """What the source has is kept beside, for it to unplug."""
    asked, _ = recorded("pre_live_migration")
    data = migrate_data.read(asked["migrate_data"])

    assert migrate_data.is_bound(data)
    (source,) = migrate_data.source_vifs(data)
    assert source.vif_type == "ovs"
    known = replace(source, active=True)
    (target,) = migrate_data.target_vifs(data, [known])
    assert (target.id, target.devname, target.mac) == (source.id, source.devname, source.mac)
    (row,) = data["vifs"]
    assert dict(target.details) == json.loads(row["vif_details_json"])
    assert target.active is False


def test_a_port_without_a_binding_is_plugged_as_it_is():
    """As where Neutron knows one binding of a port only."""
    data = migrate_data.new(vifs=migrate_data.skeleton([VIF]))

    assert not migrate_data.is_bound(data)
    assert migrate_data.target_vifs(data, [VIF]) == [VIF]


def test_the_skeleton_of_ports_is_that_of_stock():
    """The same fields, with the interface as the network cache has it."""
    _, answer = recorded("check_can_live_migrate_source")
    (stock,) = answer["vifs"]
    (ours,) = migrate_data.skeleton(migrate_data.source_vifs(answer))

    assert ours.data.keys() == stock.data.keys()
    assert json.loads(ours["source_vif"]) == json.loads(stock["source_vif"])
    assert json.loads(ours["profile_json"]) == json.loads(stock["profile_json"])


def test_volumes_come_back_as_they_were_told():
    """Byte for byte what stock would read."""
    _, answer = recorded("pre_live_migration")
    (volume,) = migrate_data.volumes(answer)
    (stock,) = answer["bdms"]
    assert (volume.target, volume.bus, volume.kind) == ("vdb", "virtio", "disk")
    assert volume.connection.type == "rbd"

    data = migrate_data.new()
    migrate_data.write_volumes(data, [volume])

    (ours,) = data["bdms"]
    assert ours.data.keys() == stock.data.keys()
    assert json.loads(ours["connection_info_json"]) == json.loads(stock["connection_info_json"])
    assert migrate_data.volumes(data) == [volume]


def test_how_a_volume_is_reached_is_a_secret():
    """The journal, and a kept answer, have no connection_info: the mapping has it."""
    _, answer = recorded("pre_live_migration")

    kept = wrap(confidential.without(unwrap(answer)))

    (volume,) = migrate_data.volumes(kept)
    assert volume.connection is None
    assert volume.target == "vdb"


def test_pins_go_to_the_source_and_come_back():
    """As host CPUs by vCPU, in stock's fields."""
    pins = Pins(
        {0: frozenset({4, 5}), 1: frozenset({6})}, {0: frozenset({1})}, frozenset({7}),
        frozenset({1}), 1,
    )  # fmt: skip
    data = migrate_data.new()
    assert migrate_data.pins(data) is None

    migrate_data.write_pins(data, pins)

    assert migrate_data.pins(data) == pins
    assert data["dst_numa_info"].data == {
        "cpu_pins": {"0": [4, 5], "1": [6]}, "cell_pins": {"0": [1]}, "emulator_pins": [7],
        "sched_vcpus": [1], "sched_priority": 1,
    }  # fmt: skip


def test_consoles_listen_where_the_target_says():
    """A kind that it does not have is None."""
    _, answer = recorded("pre_live_migration")
    found = migrate_data.listening(answer)
    assert (found.vnc, found.spice, found.serial, found.serial_ports) == (
        "0.0.0.0", "127.0.0.1", None, (),
    )  # fmt: skip


@pytest.mark.parametrize("value", [None, {}, WireObject.new("HyperVLiveMigrateData", "1.4")])
def test_another_hypervisors_object_is_refused(value):
    """With what to do about it."""
    with pytest.raises(MalformedMessage, match="both of them use libvirt"):
        migrate_data.read(value)


def test_a_volume_needs_no_boot_index():
    """Nor anything else that only some have."""
    data = migrate_data.new()
    migrate_data.write_volumes(data, [MovedVolume("v", "vdc", "scsi", secret="s")])
    (volume,) = migrate_data.volumes(data)
    assert (volume.boot_index, volume.secret, volume.connection) == (None, "s", None)


# --- the emulated TPM ---------------------------------------------------------------------------
TPM_KEY, TPM_PHRASE = "6a1d5f0e-6d0f-4e0e-9a3e-5b0f6c1d2e3f", b"c2VjcmV0Cg=="


def of_stock(**fields):
    """As nova 2026.1 and 2026.2 serialize it."""
    return WireObject({
        "nova_object.name": "LibvirtLiveMigrateData", "nova_object.namespace": "nova",
        "nova_object.version": "1.14", "nova_object.data": {"filename": "tmp", **fields},
        "nova_object.changes": ["filename", *fields],
    })  # fmt: skip


@pytest.mark.parametrize("secret", [(TPM_KEY, TPM_PHRASE), None])
def test_what_opens_a_tpm_is_written_and_read_as_stock_does(secret):
    """Null says that the server has a TPM, whose key goes another way."""
    uuid, value = (TPM_KEY, TPM_PHRASE.decode()) if secret else (None, None)
    fields = {"vtpm_secret_uuid": uuid, "vtpm_secret_value": value}
    ours = migrate_data.new(tpm=True, filename="tmp")
    migrate_data.write_tpm_secret(ours, secret)

    assert ours.primitive == of_stock(**fields).primitive
    assert migrate_data.tpm_secret(of_stock(**fields)) == secret
    assert migrate_data.knows_tpm(of_stock())
    assert migrate_data.tpm_secret(of_stock()) is None


def test_servers_without_a_tpm_have_an_object_that_all_releases_know():
    """So has one of a control plane that knows nothing of TPMs."""
    assert migrate_data.new(filename="tmp").version == "1.13"
    ours = migrate_data.new(tpm=True, filename="tmp")
    migrate_data.write_tpm_secret(ours, (TPM_KEY, TPM_PHRASE))
    old = wrap(Outgoing(of_service(70)).fitting(ours))
    assert (old.version, migrate_data.knows_tpm(old)) == ("1.13", False)
    assert (old.data, old.changes) == ({"filename": "tmp"}, ["filename"])
    new = wrap(Outgoing(of_service(72)).fitting(ours))
    assert migrate_data.tpm_secret(new) == (TPM_KEY, TPM_PHRASE)


def test_a_passphrase_is_no_part_of_what_is_kept():
    """The uuid is none; nor is a passphrase sent to whom it is of no use."""
    ours = migrate_data.new(tpm=True, filename="tmp")
    migrate_data.write_tpm_secret(ours, (TPM_KEY, TPM_PHRASE))
    kept, secrets = confidential.taken_out({"arguments": {"migrate_data": unwrap(ours)}})
    assert TPM_PHRASE.decode() not in json.dumps(kept)
    assert confidential.names(secrets) == {"vtpm_secret_value"}
    confidential.put_back(kept, secrets)
    assert kept["arguments"]["migrate_data"] == ours.primitive
    assert TPM_PHRASE.decode() not in repr(ours)

    migrate_data.drop_tpm_secret(ours)
    assert (ours["vtpm_secret_uuid"], ours["vtpm_secret_value"]) == (TPM_KEY, None)
    plain = migrate_data.new(filename="tmp")
    migrate_data.drop_tpm_secret(plain)
    assert "vtpm_secret_value" not in plain


def test_a_passphrase_that_is_no_text_is_not_sent():
    """Nova makes none."""
    with pytest.raises(UnicodeDecodeError):
        migrate_data.write_tpm_secret(migrate_data.new(tpm=True), (TPM_KEY, b"\xff"))
