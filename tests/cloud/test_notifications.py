"""Notifications: what Ceilometer and billing systems hear of the servers of a host."""

from __future__ import annotations

import json

import pytest

from tests.cloud.support.notifications import Listener

# Stock nova-compute was recorded instead (tests/unit/notifications): it takes a boot that arrives
# while it starts for one that was interrupted, so it cannot be asked right after a restart.
pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

BOTH = """
[oslo_messaging_notifications]
driver = messagingv2
[notifications]
notification_format = both
"""
AUDIT = """
[DEFAULT]
instance_usage_audit = true
instance_usage_audit_period = hour
"""
LEGACY, VERSIONED = "compute.instance.", "instance."
LIFE = [
    "create.start", "create.end", "pause.start", "pause.end", "unpause.start", "unpause.end",
    "delete.start", "shutdown.start", "shutdown.end", "delete.end",
]  # fmt: skip


@pytest.mark.core
def test_the_life_of_a_server(api, cloud, node, garbage, ledger):
    """Each action starts and ends, in both forms, with the server as it is then; a failed one is
    told as an error; the user's token is not told."""
    with cloud.options(node, BOTH), Listener(cloud, node) as listener:
        uuid = garbage.server(api.request_boot(node, metadata={"role": "web"})["id"])
        api.wait_status(uuid, "ACTIVE", 180)
        for action, status in (("pause", "PAUSED"), ("unpause", "ACTIVE")):
            api.act(uuid, action)
            api.wait_status(uuid, status)
        # The image has no guest agent: nobody can set a password.
        failed = {"changePassword": {"adminPass": "n0t-to-be-told"}}
        assert api.call("POST", f"/servers/{uuid}/action", failed, ok=False).status_code >= 400
        listener.wait("set_admin_password")
        listener.wait("compute.exception")
        api.delete(uuid)
        api.wait_gone(uuid)
        listener.wait("instance.delete.end", uuid)

    assert listener.names(LEGACY, uuid) == LIFE
    assert listener.names(VERSIONED, uuid) == LIFE
    created = listener.wait("compute.instance.create.end", uuid)
    assert (created["state"], created["host"], created["metadata"]) == (
        "active", node, {"role": "web"}
    )  # fmt: skip
    assert [ip["version"] for ip in created["fixed_ips"]] == [4]
    assert created["image_ref_url"].endswith(f"/images/{api.image_id('tiny-fast')}")
    paused = listener.wait("instance.pause.end", uuid)
    assert (paused["state"], paused["power_state"], paused["task_state"]) == (
        "paused", "paused", None
    )  # fmt: skip
    deleted = listener.wait("compute.instance.delete.end", uuid)
    assert deleted["state"] == "deleted" and deleted["deleted_at"]
    told = json.dumps([told["payload"] for told in listener.heard])
    assert "n0t-to-be-told" not in told


def test_the_usage_audit(api, cloud, node, garbage, ledger):
    """A server that was there in the last period is told of once, and the cloud knows that."""
    uuid = garbage.server(api.boot(node)["id"])
    # As if it had been there for a while.
    cloud.sql(
        f"update instances set launched_at = launched_at - interval 2 hour where uuid = '{uuid}';"
        f"delete from task_log where host = '{node}';"
    )
    with Listener(cloud, node) as listener, cloud.options(node, BOTH + AUDIT):
        told = listener.wait("compute.instance.exists", uuid)
        period = listener.wait("instance.exists", uuid)["audit_period"]["nova_object.data"]

    assert told["audit_period_ending"] > told["audit_period_beginning"]
    assert period["audit_period_ending"].replace("T", " ")[:19] == told["audit_period_ending"]
    row = cloud.sql(f"select state, errors, period_ending from task_log where host = '{node}'")
    assert row.split("\t")[:2] == ["DONE", "0"]
    assert row.strip().endswith(told["audit_period_ending"])
