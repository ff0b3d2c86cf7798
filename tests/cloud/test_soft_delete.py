"""Deleted servers that are kept for a while: powered off, restored, deleted for good.

nova-api keeps them only when it has reclaim_instance_interval; one that does runs beside the
cloud's own.
"""

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.extra_api import ExtraApi

pytestmark = pytest.mark.cloud

KEPT = "3"  # seconds


@pytest.fixture(scope="module")
def keeping(cloud, tmp_path_factory):
    """A client of a nova-api that keeps deleted servers."""
    extra = ExtraApi(
        cloud, tmp_path_factory.mktemp("nova-api"), {"reclaim_instance_interval": "3600"}
    )
    extra.start()
    yield extra.client()
    extra.stop()


@pytest.fixture(scope="module")
def kept(keeping, node, module_garbage):
    """A running server for this module."""
    server = keeping.boot(node)
    module_garbage.later(lambda: end(keeping, server["id"]))
    return server


def end(api, server_id):
    """Delete a server whatever state it is in."""
    if api.gone(server_id):
        return
    api.act(server_id, "forceDelete")
    api.wait_gone(server_id)


def soft_delete(api, server_id):
    api.delete(server_id)
    return api.wait_status(server_id, "SOFT_DELETED")


def test_a_soft_deleted_server_is_off_and_can_be_restored(keeping, kept, cloud, node):
    """Guest, ports and share of the host are kept; restoring starts it as it was."""
    api, uuid = keeping, kept["id"]
    ports, allocations = api.ports(uuid), api.allocations(uuid)

    deleted = soft_delete(api, uuid)
    assert deleted["OS-EXT-STS:vm_state"] == "soft-delete"
    assert deleted["OS-EXT-STS:power_state"] == 4
    assert uuid in cloud.on(node, "virsh", "list", "--inactive", "--uuid")
    assert [port["id"] for port in api.ports(uuid)] == [port["id"] for port in ports]
    assert api.allocations(uuid).keys() == allocations.keys()
    event = api.wait_event(uuid, "delete", "compute_soft_delete_instance")
    assert event["result"] == "Success"

    api.act(uuid, "restore")
    restored = api.wait_status(uuid, "ACTIVE")
    assert restored["OS-EXT-STS:power_state"] == 1
    assert restored["addresses"] == kept["addresses"]
    assert api.wait_event(uuid, "restore", "compute_restore_instance")["result"] == "Success"
    assert uuid in cloud.on(node, "virsh", "list", "--uuid")


def test_a_running_server_is_not_restored(keeping, kept):
    """409 from the API, and the server goes on."""
    response = keeping.call("POST", f"/servers/{kept['id']}/action", {"restore": None}, ok=False)
    assert response.status_code == 409, response.text
    assert keeping.wait_status(kept["id"], "ACTIVE")


def test_a_soft_deleted_server_does_not_start(keeping, kept):
    """Nothing but restoring and deleting can be asked of it."""
    api, uuid = keeping, kept["id"]
    soft_delete(api, uuid)
    response = api.call("POST", f"/servers/{uuid}/action", {"os-start": None}, ok=False)
    assert response.status_code == 409, response.text
    api.act(uuid, "restore")
    api.wait_status(uuid, "ACTIVE")


def test_a_soft_deleted_server_is_deleted_at_once(keeping, kept, cloud, node):
    """forceDelete leaves nothing: no guest, no port, no allocation."""
    api, uuid = keeping, kept["id"]
    soft_delete(api, uuid)
    api.act(uuid, "forceDelete")
    api.wait_gone(uuid)
    assert uuid not in cloud.on(node, "virsh", "list", "--all", "--uuid")
    wait_for("end of its allocation", lambda: not api.allocations(uuid), 20)
    assert api.ports(uuid) == []


@pytest.mark.lite_only
def test_a_soft_deleted_server_is_reclaimed(keeping, cloud, node, garbage):
    """After reclaim_instance_interval seconds the host deletes it by itself."""
    api = keeping
    with cloud.options(node, f"[DEFAULT]\nreclaim_instance_interval = {KEPT}"):
        uuid = api.boot(node)["id"]
        garbage.later(lambda: end(api, uuid))
        api.delete(uuid)
        api.wait_gone(uuid, 60)
        wait_for("end of its allocation", lambda: not api.allocations(uuid), 20)
        (event,) = [
            event
            for action in api.actions(uuid)
            for event in action["events"]
            if event["event"] == "compute_terminate_instance"
        ]
        assert event["result"] == "Success"
