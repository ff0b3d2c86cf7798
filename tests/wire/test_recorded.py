"""Recorded messages of a real cloud go through the codec unchanged, in both directions."""

from __future__ import annotations

import copy

import pytest

from nova_lite.model.server import Server
from nova_lite.rpc import endpoint
from nova_lite.wire import decode, versions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import NAME, VERSION, WireObject
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import RELEASES
from nova_lite.wire.serializer import NovaSerializer
from tests.fakes.outgoing import KNOWN, objects_in, too_new
from tests.wire import recorded

BY_NAME = {release.name: release for release in RELEASES}
HANDLED_AT_ONCE = {
    "external_instance_event", "get_console_output", "get_vnc_console",
    "validate_console_port", "set_host_enabled", "get_host_uptime",
    "check_instance_shared_storage",
}  # fmt: skip


def of_all_releases():
    for release in recorded.ALL:
        for method, exchanges in recorded.files(release):
            for number, exchange in enumerate(exchanges):
                yield pytest.param(release, exchange, id=f"{release}-{method}-{number}")


def received_by_computes():
    """Method and names of its arguments; those that were left out have them in the manifest."""
    for release in recorded.ALL:
        for method, exchanges in recorded.files(release):
            for number, exchange in enumerate(exchanges):
                if str(exchange["routing_key"]).startswith("compute"):
                    arguments = set(exchange["request"]["args"])
                    yield pytest.param(method, arguments, id=f"{release}-{method}-{number}")
    for release in recorded.OLDER:
        for method, row in recorded.manifest(release).items():
            if "arguments" in row:
                yield pytest.param(method, set(row["arguments"]), id=f"{release}-{method}-heard")


def test_each_release_that_is_supported_is_recorded():
    """One that is added to the table needs recordings, too."""
    assert set(recorded.ALL) == set(BY_NAME)


@pytest.mark.parametrize(("release", "exchange"), list(of_all_releases()))
def test_decoded_and_encoded_again_it_is_the_same_message(release, exchange):
    """Nothing is lost or added, whatever the object and its version."""
    serializer = NovaSerializer(Outgoing(BY_NAME[release]))
    original = copy.deepcopy(exchange)

    for argument, value in exchange["request"]["args"].items():
        decoded = serializer.deserialize_entity(None, value)
        assert serializer.serialize_entity(None, decoded) == original["request"]["args"][argument]
    for reply, wanted in zip(exchange["replies"] or (), original["replies"] or (), strict=True):
        decoded = serializer.deserialize_entity(None, reply.get("result"))
        assert serializer.serialize_entity(None, decoded) == wanted.get("result")


@pytest.mark.parametrize(("method", "arguments"), list(received_by_computes()))
def test_every_method_a_control_plane_sends_is_in_the_table(method, arguments):
    """A recorded request finds its row, and has the arguments that the row asks for."""
    table = {**endpoint.routes({"ping": None})}
    assert method in table or method in HANDLED_AT_ONCE
    if method in table:
        assert set(table[method].arguments) <= arguments


@pytest.mark.parametrize(("release", "exchange"), list(of_all_releases()))
def test_versions_we_send_are_those_the_cloud_uses(release, exchange):
    """Every object of a recorded message that we also make has the version we would send."""
    oldest = KNOWN[recorded.ALL[0]]
    newer = {name for name, version in KNOWN[release].items() if version != oldest.get(name)}
    for obj in objects_in(exchange):
        known = versions.VERSIONS.get(obj[NAME])
        if known and obj[NAME] not in newer:
            assert obj[VERSION] == known


@pytest.mark.parametrize(("release", "exchange"), list(of_all_releases()))
def test_a_release_speaks_of_what_it_is_said_to_know(release, exchange):
    """What is recorded of a release is not newer than the table of what it knows."""
    known = BY_NAME[release].objects
    assert too_new(exchange, release) == []
    assert {obj[NAME] for obj in objects_in(exchange)} <= set(known)


def test_a_recorded_build_decodes_to_a_server():
    """The facts a guest is made of are read from a real build request."""
    exchange = recorded.exchanges(recorded.NEWEST, "build_and_run_instance")[0]
    arguments = exchange["request"]["args"]
    instance = WireObject(arguments["instance"])

    server = decode.server(
        instance,
        name_template="instance-%08x",
        context=RequestContext({}),
        image_dict=arguments["image"],
    )

    assert isinstance(server, Server)
    assert server.domain_name == "instance-000000ae"
    assert (server.flavor.vcpus, server.flavor.memory_mb, server.flavor.root_gb) == (1, 128, 1)
    assert server.image.disk_format == "qcow2"
    assert server.image.properties["hw_machine_type"] == "pc"
    assert server.config_drive is True
    assert server.key_data.startswith("ecdsa-sha2-nistp384 ")


@pytest.mark.parametrize("release", recorded.OLDER)
def test_a_recorded_build_of_an_older_release_decodes_to_a_server(release):
    """Of each that was kept: one at least."""
    builds = recorded.exchanges(release, "build_and_run_instance")
    assert builds
    for exchange in builds:
        arguments = exchange["request"]["args"]
        sent = arguments["instance"]["nova_object.data"]
        flavor = sent["flavor"]["nova_object.data"]

        server = decode.server(
            WireObject(arguments["instance"]),
            name_template="instance-%08x",
            context=RequestContext({}),
            image_dict=arguments["image"],
        )

        assert server.domain_name == f"instance-{sent['id']:08x}"
        assert (server.flavor.vcpus, server.flavor.memory_mb, server.flavor.root_gb) == (
            flavor["vcpus"], flavor["memory_mb"], flavor["root_gb"]
        )  # fmt: skip
        assert server.uuid == sent["uuid"]
        assert server.key_data == sent["key_data"]


@pytest.mark.parametrize("release", recorded.OLDER)
def test_what_differs_of_an_older_release_is_here(release):
    """The manifest says what was heard: its files are here, and the objects that differ in them.

    Of those that every build has, ImageMetaProps is one.
    """
    manifest = recorded.manifest(release)
    kept = {method: len(exchanges) for method, exchanges in recorded.files(release)}
    assert kept == {method: row["kept"] for method, row in manifest.items() if row["kept"]}
    assert all(row["kept"] for row in manifest.values() if {"differs", "fields"} & set(row))

    version = f"ImageMetaProps {KNOWN[release]['ImageMetaProps']}"
    assert version in manifest["build_and_run_instance"]["differs"]
    for method, row in manifest.items():
        found = {
            f"{obj[NAME]} {obj[VERSION]}" for obj in objects_in(recorded.exchanges(release, method))
        }
        versions_that_differ = {
            fact for fact in row.get("differs", ()) if len(fact.split()) == 2 and fact[0].isupper()
        }
        assert versions_that_differ <= found


def test_a_newer_object_survives():
    """Fields and versions of a future release come back as they were sent."""
    future = {
        NAME: "Instance",
        "nova_object.namespace": "nova",
        VERSION: "2.99",
        "nova_object.data": {"uuid": "u", "hologram": {NAME: "Hologram", VERSION: "7.0",
                                                       "nova_object.data": {"x": [1]}}},
    }  # fmt: skip
    before = copy.deepcopy(future)

    obj = WireObject(future)
    assert obj["hologram"].name == "Hologram"
    obj.set(task_state=None)
    obj.clear_changes()
    del obj.data["task_state"]

    assert obj.primitive == before
