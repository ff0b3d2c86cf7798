"""What the agent inside a guest is asked for: passwords, and file systems that hold still."""

from __future__ import annotations

import base64
import subprocess
import time

import pytest

from tests.cloud.support.devcloud import LITE, wait_for
from tests.cloud.support.guest import ask_agent, boot_with_agent, in_guest
from tests.cloud.support.raw_amqp import RawAmqp, Refusal

pytestmark = pytest.mark.cloud

PASSWORD = "hush-Korrekt-Pferd"


@pytest.fixture(scope="module")
def key(api, module_garbage, tmp_path_factory):
    """A key pair that passwords can be encrypted with: its name and the private half."""
    private = tmp_path_factory.mktemp("key") / "rsa"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", private],
        check=True,
    )
    public = private.with_suffix(".pub").read_text()
    body = {"name": f"nlt-{time.time_ns()}", "public_key": public, "type": "ssh"}
    name = api.call("POST", "/os-keypairs", {"keypair": body})["keypair"]["name"]
    module_garbage.later(lambda: api.call("DELETE", f"/os-keypairs/{name}"))
    return name, private


@pytest.fixture(scope="module")
def agent_server(api, node, key, module_garbage):
    """A running server whose guest agent answers."""
    return boot_with_agent(api, node, module_garbage, key_name=key[0])


@pytest.fixture(scope="module")
def amqp(cloud, node):
    client = RawAmqp(cloud, node)
    yield client
    client.close()


def set_password(api, server_id, password=PASSWORD):
    return api.call(
        "POST", f"/servers/{server_id}/action", {"changePassword": {"adminPass": password}},
        ok=False,
    )  # fmt: skip


def instance_of(amqp, server_id):
    return amqp.ask_conductor(
        "Instance.get_by_uuid", [server_id], {"expected_attrs": ["system_metadata"]}
    )


@pytest.mark.core
def test_a_password_is_set(api, agent_server, cloud, node, key):
    """root's password in the guest is the new one, and only the key's owner can read it."""
    uuid, log = agent_server["id"], cloud.agent_log(node)
    size = log.stat().st_size

    response = set_password(api, uuid)

    assert response.status_code == 202, response.text
    assert api.server(uuid)["OS-EXT-STS:task_state"] is None
    event = api.wait_event(uuid, "changePassword", "compute_set_admin_password")
    assert event["result"] == "Success"
    shadow = in_guest(cloud, node, uuid, "grep ^root: /etc/shadow").split(":")[1]
    _, method, salt, _ = shadow.split("$")
    made = subprocess.run(
        ["openssl", "passwd", f"-{method}", "-salt", salt, PASSWORD],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert made.stdout.strip() == shadow

    sealed = api.call("GET", f"/servers/{uuid}/os-server-password")["password"]
    opened = subprocess.run(
        ["openssl", "pkeyutl", "-decrypt", "-inkey", key[1]],
        check=True, capture_output=True, input=base64.b64decode(sealed),
    )  # fmt: skip
    assert opened.stdout.decode() == PASSWORD
    with log.open("rb") as file:
        file.seek(size)
        assert PASSWORD.encode() not in file.read()


def test_without_a_channel_there_is_no_password(api, server):
    """409 for an image that does not say that it has an agent; the server goes on."""
    response = set_password(api, server["id"])
    assert response.status_code == 409, response.text
    assert "guest agent is not enabled" in response.text
    assert api.wait_idle(server["id"], 20)["status"] == "ACTIVE"
    event = api.wait_event(server["id"], "changePassword", "compute_set_admin_password")
    assert event["result"] == "Error"


def test_quiesced_and_thawed(agent_server, amqp, cloud, node):
    """The guest's file systems stand still in between."""
    uuid = agent_server["id"]
    instance = instance_of(amqp, uuid)
    assert amqp.call("quiesce_instance", {"instance": instance}) is None
    if cloud.agent_kind(node) == LITE:  # to the stock agent the second request is an error
        assert amqp.call("quiesce_instance", {"instance": instance}) is None
    assert ask_agent(cloud, node, uuid, "guest-fsfreeze-status") == "frozen"

    amqp.cast("unquiesce_instance", {"instance": instance, "mapping": None})
    wait_for(
        "the thaw",
        lambda: ask_agent(cloud, node, uuid, "guest-fsfreeze-status") == "thawed",
        20,
    )


def test_what_cannot_be_quiesced_says_so(amqp, server):
    """nova-api takes the snapshot all the same, unless the image forbids it."""
    instance = instance_of(amqp, server["id"])
    answer = amqp.call("quiesce_instance", {"instance": instance})
    assert isinstance(answer, Refusal), answer
    assert (answer.name, answer.code) == ("nova.exception.QemuGuestAgentNotEnabled", 400)


def test_network_information_is_read_anew(api, server):
    """An administrator's injectNetworkInfo leaves the addresses as they are."""
    uuid = server["id"]
    api.act(uuid, "injectNetworkInfo")
    time.sleep(1)
    found = api.wait_status(uuid, "ACTIVE")
    assert found["addresses"] == server["addresses"]


def test_an_agent_that_is_gone_sets_no_password(api, agent_server, cloud, node):
    """501 when nobody answers in the guest, and no task state is left."""
    uuid = agent_server["id"]
    in_guest(cloud, node, uuid, "(sleep 1; killall qemu-ga) >/dev/null 2>&1 &")
    wait_for(
        "the end of the agent",
        lambda: (
            "name='org.qemu.guest_agent.0' state='disconnected'"
            in cloud.on(node, "virsh", "dumpxml", uuid)
        ),
        20,
    )
    response = set_password(api, uuid)
    assert response.status_code == 501, response.text
    assert api.wait_idle(uuid, 20)["status"] == "ACTIVE"
    event = api.wait_event(uuid, "changePassword", "compute_set_admin_password")
    assert event["result"] == "Error"


def test_a_stopped_server_has_no_agent(api, agent_server):
    """409 from the API."""
    uuid = agent_server["id"]
    api.act(uuid, "os-stop")
    api.wait_status(uuid, "SHUTOFF")
    response = set_password(api, uuid)
    assert response.status_code == 409, response.text
    assert api.server(uuid)["OS-EXT-STS:task_state"] is None
