"""A host whose ovs-vswitchd is dead: out of the scheduler's sight until it is back."""

from __future__ import annotations

import json

import pytest

from tests.cloud.support.devcloud import LITE, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

DISABLED = "COMPUTE_STATUS_DISABLED"
NOTICED = 40  # seconds; it takes about twelve, on a quiet machine


def service(api, node):
    return api.call("GET", f"/os-services?host={node}&binary=nova-compute")["services"][0]


def traits(cloud, api, node):
    return api.placement_get(f"/resource_providers/{cloud.provider(node)}/traits")["traits"]


def preflight(cloud, node):
    """The line of Open vSwitch, as nova-lite-status prints it."""
    files = [str(cloud.state / "etc" / node / name) for name in ("nova.conf", "nova.local.conf")]
    said = cloud.on(
        node, str(cloud.agent_environment(LITE) / "nova-lite-status"), "check", "--format", "json",
        "--config-file", files[0], "--config-file", files[1], check=False,
    )  # fmt: skip
    return next(row for row in json.loads(said)["checks"] if row["name"] == "Open vSwitch")


class Log:
    """What the host's agent logs from now on."""

    def __init__(self, cloud, node):
        self._path = cloud.agent_log(node)
        self._start = self._path.stat().st_size

    def says(self, words):
        with self._path.open(errors="replace") as lines:
            lines.seek(self._start)
            return words in lines.read()


def is_out(cloud, api, node):
    found = service(api, node)
    reason = str(found["disabled_reason"])
    return (
        found["status"] == "disabled"
        and reason.startswith("AUTO: Open vSwitch")
        and DISABLED in traits(cloud, api, node)
    )


def is_back(cloud, api, node):
    return service(api, node)["status"] == "enabled" and DISABLED not in traits(cloud, api, node)


@pytest.fixture
def dead_switch(cloud, api, node):
    """ovs-vswitchd killed, together with its monitor; ovsdb-server lives."""
    cloud.on(node, "sh", "-c", "kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)")
    yield
    cloud.run("node", node, "up")
    wait_for("the host enabled", lambda: is_back(cloud, api, node), NOTICED)


@pytest.mark.core
def test_a_host_without_its_switch(cloud, api, node, boot, garbage, request):
    """It disables itself in seconds and says why; deletes go on; it is back by itself, and nothing
    of what was deleted meanwhile stays in the switch."""
    server = boot()["id"]
    log = Log(cloud, node)
    assert preflight(cloud, node)["status"] == "ok"

    request.getfixturevalue("dead_switch")
    wait_for("the host disabled", lambda: is_out(cloud, api, node), NOTICED)

    assert log.says("ovs-vswitchd does not answer")
    found = preflight(cloud, node)
    assert (found["status"], "ovs-vswitchd" in found["message"]) == ("failure", True)
    refused = api.request_boot(node)["id"]
    garbage.server(refused)
    wait_for("no valid host", lambda: api.server(refused)["status"] == "ERROR", 60)
    assert "No valid host" in api.server(refused)["fault"]["message"]
    api.delete(server)
    api.wait_gone(server, 60)

    cloud.run("node", node, "up")
    wait_for("the host enabled", lambda: is_back(cloud, api, node), NOTICED)
    # What is left of the deleted server is asked by the ledger.
    assert boot()["status"] == "ACTIVE"


def test_an_agent_that_is_restarted_meanwhile(cloud, api, node, boot, request):
    """The host stays disabled as long as the switch is dead, and no longer."""
    boot()
    request.getfixturevalue("dead_switch")
    wait_for("the host disabled", lambda: is_out(cloud, api, node), NOTICED)

    cloud.restart_agent(node)

    wait_for("the agent up", lambda: service(api, node)["state"] == "up", 60)
    assert is_out(cloud, api, node)


def test_what_an_operator_has_disabled_stays_so(cloud, api, node):
    """Before the switch died, and after it is back."""
    path, log = f"/os-services/{service(api, node)['id']}", Log(cloud, node)
    api.call("PUT", path, {"status": "disabled", "disabled_reason": "new disks"})
    signal = "kill -{} $(cat /run/openvswitch/ovs-vswitchd.pid)"
    try:
        cloud.on(node, "sh", "-c", signal.format("STOP"))
        try:
            wait_for("a word of it", lambda: log.says("No port can be plugged"), NOTICED)
        finally:
            cloud.on(node, "sh", "-c", signal.format("CONT"))
        wait_for("a word that it is back", lambda: log.says("stays disabled"), NOTICED)
        assert service(api, node)["disabled_reason"] == "new disks"
        assert DISABLED in traits(cloud, api, node)
    finally:
        api.call("PUT", path, {"status": "enabled"})
