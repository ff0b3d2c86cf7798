"""Recorded messages of a real cloud go through the codec unchanged, in both directions."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from nova_lite.model.server import Server
from nova_lite.rpc import endpoint
from nova_lite.wire import decode, versions
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import NAME, VERSION, WireObject
from nova_lite.wire.outgoing import Outgoing
from nova_lite.wire.releases import RELEASES
from nova_lite.wire.serializer import NovaSerializer
from tests.fakes.outgoing import objects_in

DATA = Path(__file__).parent / "data"


def recorded():
    for path in sorted((DATA / "methods").glob("*.json")):
        for number, exchange in enumerate(json.loads(path.read_text())):
            yield pytest.param(exchange, id=f"{path.stem}-{number}")


def received_by_computes():
    for path in sorted((DATA / "methods").glob("*.json")):
        exchanges = json.loads(path.read_text())
        for number, exchange in enumerate(exchanges):
            if str(exchange["routing_key"]).startswith("compute"):
                yield pytest.param(exchange["request"], id=f"{path.stem}-{number}")


@pytest.mark.parametrize("exchange", recorded())
def test_decoded_and_encoded_again_it_is_the_same_message(exchange):
    """Nothing is lost or added, whatever the object and its version."""
    serializer = NovaSerializer(Outgoing(RELEASES[-1]))
    original = copy.deepcopy(exchange)

    for argument, value in exchange["request"]["args"].items():
        decoded = serializer.deserialize_entity(None, value)
        assert serializer.serialize_entity(None, decoded) == original["request"]["args"][argument]
    for reply, wanted in zip(
        exchange["replies"] or (), original["replies"] or (), strict=True
    ):
        decoded = serializer.deserialize_entity(None, reply.get("result"))
        assert serializer.serialize_entity(None, decoded) == wanted.get("result")


@pytest.mark.parametrize("request_message", received_by_computes())
def test_every_method_a_control_plane_sends_is_in_the_table(request_message):
    """A recorded request finds its row, and has the arguments that the row asks for."""
    table = {**endpoint.routes({"ping": None})}
    handled_at_once = {
        "external_instance_event", "get_console_output", "get_vnc_console",
        "validate_console_port", "set_host_enabled", "get_host_uptime",
        "check_instance_shared_storage",
    }  # fmt: skip
    method = request_message["method"]
    assert method in table or method in handled_at_once
    if method in table:
        assert set(table[method].arguments) <= set(request_message["args"])


@pytest.mark.parametrize("exchange", recorded())
def test_versions_we_send_are_those_the_cloud_uses(exchange):
    """Every object of a recorded message that we also make has the version we would send."""
    newer_in_2026 = {"ImageMetaProps", "LibvirtLiveMigrateData", "ShareMappingList"}
    for obj in objects_in(exchange):
        known = versions.VERSIONS.get(obj[NAME])
        if known and obj[NAME] not in newer_in_2026:
            assert obj[VERSION] == known


def test_a_recorded_build_decodes_to_a_server():
    """The facts a guest is made of are read from a real build request."""
    exchange = json.loads((DATA / "methods" / "build_and_run_instance.json").read_text())[0]
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
