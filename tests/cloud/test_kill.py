"""kill -9 at any point: after a restart every request is finished and nothing is left over."""

from __future__ import annotations

import base64
import random
import subprocess
import time

import pytest

from tests import rotation
from tests.cloud.support.devcloud import CloudError, wait_for
from tests.cloud.support.trials import Trial

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

SECRET = "hush-Korrekt-Pferd"
# How many boundaries of each operation are tried unless --full is given; the seed chooses which.
SAMPLE = {"boot": 3, "abort": 2, "delete": 2, "power": 3}


def running_guest(cloud, api, node, server):
    """The server's guest really runs, with its port up."""
    state = cloud.on(node, "virsh", "domstate", server).strip()
    if state != "running":
        raise CloudError(f"server {server} is ACTIVE and its guest {state}")
    wait_for("port ACTIVE", lambda: [p["status"] for p in api.ports(server)] == ["ACTIVE"], 20)


@pytest.mark.core
@pytest.mark.timeout(1500)
def test_killed_while_booting(cloud, api, node, agent, choose, ledger, garbage):
    """Wherever a boot is cut off, it goes on after the restart and ends ACTIVE."""
    agent.boundaries()
    server = api.boot(node)["id"]
    boundaries = [name for name in agent.boundaries() if name.startswith("build_and_run")]
    api.delete(server)
    api.wait_gone(server)
    trial = Trial(ledger, agent)
    for boundary in choose("boot", boundaries, SAMPLE["boot"]):

        def one(boundary=boundary):
            agent.arm(boundary)
            server = garbage.server(api.request_boot(node)["id"])
            agent.wait_dead()
            agent.start()
            api.wait_status(server, "ACTIVE", 90)
            running_guest(cloud, api, node, server)
            api.delete(server)
            api.wait_gone(server)

        trial.run(boundary, one)
    trial.verdict()


@pytest.mark.timeout(900)
def test_killed_while_taking_a_boot_back(api, node, agent, choose, ledger, garbage, tmp_path):
    """A boot that fails and is cut off while it is taken back ends in ERROR, with its fault."""
    path = tmp_path / "big.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "3G"], check=True)
    image = api.upload_image(path, "qcow2")
    garbage.later(lambda: api.delete_image(image))

    def fail(boundary=None):
        if boundary:
            agent.arm(boundary)
        server = garbage.server(api.request_boot(node, image=image)["id"])
        if boundary:
            agent.wait_dead()
            agent.start()
        if api.wait_status(server, ("ERROR", "ACTIVE"), 90).get("fault") is None:
            raise CloudError(f"server {server} has no fault")
        # Its event is finished after its state.
        api.wait_event(server, "create", "compute__do_build_and_run_instance")
        api.delete(server)
        api.wait_gone(server)

    agent.boundaries()
    fail()
    seen = agent.boundaries()
    after = seen.index("build_and_run_instance:failed")
    trial = Trial(ledger, agent)
    backwards = [name for name in seen[after:] if name.startswith("build_and_run")]
    for boundary in choose("abort", backwards, SAMPLE["abort"]):
        trial.run(boundary, lambda boundary=boundary: fail(boundary))
    trial.verdict()


@pytest.mark.core
@pytest.mark.timeout(900)
def test_killed_while_deleting(api, node, agent, choose, ledger, garbage):
    """Wherever a deletion is cut off, the server is gone after the restart."""
    server = api.boot(node)["id"]
    agent.boundaries()
    api.delete(server)
    api.wait_gone(server)
    time.sleep(1)
    boundaries = [name for name in agent.boundaries() if name.startswith("terminate")]
    trial = Trial(ledger, agent)
    for boundary in choose("delete", boundaries, SAMPLE["delete"]):

        def one(boundary=boundary):
            server = garbage.server(api.boot(node)["id"])
            agent.arm(boundary)
            api.delete(server)
            agent.wait_dead()
            agent.start()
            api.wait_gone(server)

        trial.run(boundary, one)
    trial.verdict()


@pytest.mark.timeout(1200)
def test_killed_while_switching_power(cloud, api, node, agent, choose, ledger, boot):
    """Wherever stop, start or reboot is cut off, the server gets where it was asked to go."""
    server = boot()["id"]
    verbs = (
        ("os-stop", None, "SHUTOFF"),
        ("os-start", None, "ACTIVE"),
        ("reboot", {"type": "HARD"}, "ACTIVE"),
    )
    agent.boundaries()
    steps = []
    for action, body, status in verbs:
        api.act(server, action, body)
        api.wait_status(server, status)
        time.sleep(1)
        steps += [(action, body, status, name) for name in agent.boundaries()]
    trial = Trial(ledger, agent)
    for action, body, status, boundary in choose("power", steps, SAMPLE["power"]):

        def one(action=action, body=body, status=status, boundary=boundary):
            before = api.wait_idle(server)["status"]
            if action == "os-start" and before != "SHUTOFF":
                api.act(server, "os-stop")
                api.wait_status(server, "SHUTOFF")
            if action != "os-start" and before != "ACTIVE":
                api.act(server, "os-start")
                api.wait_status(server, "ACTIVE")
            agent.arm(boundary)
            api.act(server, action, body)
            agent.wait_dead()
            agent.start()
            api.wait_status(server, status, 90)
            state = cloud.on(node, "virsh", "domstate", server).strip()
            if (state == "running") != (status == "ACTIVE"):
                raise CloudError(f"server {status}, guest {state}")

        trial.run(boundary, one)
    trial.verdict()


# --- the agent as it is, killed at any moment ------------------------------------------------


@pytest.fixture
def own_agent(cloud, node, agent):
    """The host's own agent instead of the killable one. To be asked for before ``garbage``: while
    agents change hands nothing can be deleted."""
    agent.hand_back()
    yield
    agent.take_over()


@pytest.mark.core
@pytest.mark.timeout(600)
def test_eight_boots_survive_three_kills(cloud, api, node, request, own_agent, garbage):
    """Killed in the middle of eight parallel boots, again and again: no server in ERROR."""
    moments = random.Random(rotation.seed(request.config))
    name = "nlt-eight"
    api.request_boot(node, name=name, min_count=8, max_count=8)

    def servers():
        return api.call("GET", f"/servers/detail?name={name}")["servers"]

    for server in servers():
        garbage.server(server["id"])
    wait_for(
        "first boot at work",
        lambda: any(s["OS-EXT-STS:task_state"] == "spawning" for s in servers()),
        60,
        pause=0.05,
    )
    for _ in range(3):
        time.sleep(moments.uniform(0.0, 1.5))
        cloud.agent(node).kill()
        cloud.restart_agent(node)
    wait_for(
        "end of all boots",
        lambda: all(s["OS-EXT-STS:task_state"] is None for s in servers()),
        240,
        pause=0.5,
    )
    assert [server["status"] for server in servers()] == ["ACTIVE"] * 8
    for server in servers():
        running_guest(cloud, api, node, server["id"])


@pytest.mark.timeout(600)
def test_deletes_survive_a_kill(cloud, api, node, own_agent, garbage):
    """Killed while four servers are deleted: all are gone, nothing is left."""
    name = "nlt-four"
    api.request_boot(node, name=name, min_count=4, max_count=4)
    servers = [s["id"] for s in api.call("GET", f"/servers?name={name}")["servers"]]
    for server in servers:
        garbage.server(server)
    for server in servers:
        api.wait_status(server, "ACTIVE", 180)
    for server in servers:
        api.delete(server)
    time.sleep(0.2)
    cloud.agent(node).kill()
    cloud.restart_agent(node)
    for server in servers:
        api.wait_gone(server)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lost", [False, True], ids=["killed", "power failure"])
def test_secrets_of_a_request_are_in_memory_only(cloud, api, node, agent, garbage, lost):
    """The next agent has them; on a host that has lost power the user is asked to try again."""
    agent.arm("build_and_run_instance:take_server:end")
    server = garbage.server(
        api.request_boot(node, config_drive=True, adminPass=SECRET, user_data=SECRET)["id"]
    )
    agent.wait_dead()
    journal = cloud.on(node, "sh", "-c", "cat /var/lib/nova/nova-lite/journal/*.journal")
    assert '"auth_token": null' in journal
    assert SECRET not in journal
    assert base64.b64encode(SECRET.encode()).decode() not in journal
    if lost:
        cloud.on(node, "sh", "-c", "rm -rf /run/nova-lite/*")
    agent.start()
    found = api.wait_status(server, ("ACTIVE", "ERROR"), 90)
    if lost:
        assert found["status"] == "ERROR" and "ask again" in found["fault"]["message"]
    else:
        assert found["status"] == "ACTIVE"
        api.wait_event(server, "create", "compute__do_build_and_run_instance")
    left = "find /run/nova-lite -name '*.secrets'"
    wait_for("no secrets", lambda: not cloud.on(node, "sh", "-c", left).strip(), 10)
    api.delete(server)
    api.wait_gone(server)
