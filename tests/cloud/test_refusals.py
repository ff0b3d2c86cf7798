"""What the agent cannot do (yet) is refused clearly, and leaves the server as it was."""

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

# action, arguments, name of the action in the list, what undoes it when it was carried out
VERBS = {
    "rescue": ("rescue", {}, "rescue", "unrescue"),
}


def settled(api, server, request):
    """The action's record once it is over, with its events."""
    path = f"/servers/{server}/os-instance-actions/{request}"

    def look():
        action = api.call("GET", path)["instanceAction"]
        done = [event for event in action["events"] if event["result"]]
        return action if done and len(done) == len(action["events"]) else None

    return wait_for(f"end of {request}", look, 60)


@pytest.mark.parametrize("verb", VERBS)
def test_done_or_refused(api, server, verb):
    """Carried out; or HTTP 4xx/501 at once; or an event with Error and no task left."""
    action, arguments, name, undo = VERBS[verb]
    uuid = server["id"]
    before = api.wait_idle(uuid)["status"]
    assert before == "ACTIVE"
    response = api.call("POST", f"/servers/{uuid}/action", {action: arguments}, ok=False)
    if not response.ok:
        assert response.status_code in (400, 404, 409, 501), response.text
        assert api.server(uuid)["OS-EXT-STS:task_state"] is None
        assert api.server(uuid)["status"] == "ACTIVE"
        return
    record = settled(api, uuid, response.headers["x-openstack-request-id"])
    assert record["action"] == name
    after = api.wait_idle(uuid)["status"]
    if any(event["result"] == "Error" for event in record["events"]):
        assert after == "ACTIVE"
    elif undo:
        api.act(uuid, undo)
        api.wait_status(uuid, "ACTIVE")


def test_an_interface_is_attached_or_refused(api, server):
    """A call: an answer, or an error that is not an internal one, and no port left."""
    uuid = server["id"]
    before = {port["id"] for port in api.ports(uuid)}
    body = {"interfaceAttachment": {"net_id": api.network_id("private")}}
    response = api.call("POST", f"/servers/{uuid}/os-interface", body, ok=False)
    if response.ok:
        port = response.json()["interfaceAttachment"]["port_id"]
        assert api.call("DELETE", f"/servers/{uuid}/os-interface/{port}", ok=False).ok
    else:
        assert response.status_code in (400, 409, 501), response.text
    wait_for("ports as before", lambda: {p["id"] for p in api.ports(uuid)} == before, 60)
