"""Shelve, offload, unshelve: on this host, from another one, and what is left meanwhile."""

import uuid

import pytest

from tests.cloud.support.devcloud import CloudError, wait_for

pytestmark = pytest.mark.cloud

SHELF_SECONDS = 40  # shelved_offload_time of the host that keeps shelved servers for a while


def shelf(api, server):
    """The images that were made of a shelved server."""
    name = f"{server['name']}-shelved"
    return api.rest(api.image, "GET", f"/images?name={name}")["images"]


def hold(api, server):
    """Pause a server: while its guest boots it would not hear the power button."""
    api.act(server["id"], "pause")
    api.wait_status(server["id"], "PAUSED")
    return server


def shelve(api, server, status="SHELVED_OFFLOADED"):
    api.act(server["id"], "shelve")
    return api.wait_status(server["id"], status, 120)


def unshelve(api, server, node):
    api.act(server["id"], "unshelve", {"host": node})
    found = api.wait_status(server["id"], "ACTIVE", 120)
    assert found["OS-EXT-SRV-ATTR:host"] == node
    return found


def assert_offloaded(api, cloud, node, server):
    """Nothing of it is on the host; its port and its image wait for it."""
    found = api.server(server["id"])
    assert found["OS-EXT-STS:vm_state"] == "shelved_offloaded"
    assert found["OS-EXT-SRV-ATTR:host"] is None
    assert not found["OS-EXT-AZ:availability_zone"]
    assert server["id"] not in cloud.on(node, "virsh", "list", "--all", "--uuid")
    assert not (cloud.nova_files(node) / "instances" / server["id"]).exists()
    assert api.allocations(server["id"]) == {}
    assert [image["status"] for image in shelf(api, server)] == ["active"]
    (port,) = api.ports(server["id"])
    assert (port["binding:vif_type"], port["binding:host_id"]) == ("unbound", "")
    assert port["fixed_ips"][0]["ip_address"] not in cloud.on(node, "ip", "address")


def wait_no_image(api, server):
    wait_for("end of the shelved image", lambda: not shelf(api, server), 30)


@pytest.mark.core
def test_shelve_and_unshelve(api, boot, cloud, node):
    """The server leaves its host with all it has, and comes back with its disk and address."""
    server = boot()
    api.wait_console(server["id"], "TINY: ready")
    shelve(api, server)
    assert_offloaded(api, cloud, node, server)
    assert api.wait_event(server["id"], "shelve", "compute_shelve_instance")["result"] == "Success"

    found = unshelve(api, server, node)
    assert found["addresses"] == server["addresses"]
    assert found["OS-EXT-STS:power_state"] == 1
    assert found["OS-EXT-AZ:availability_zone"] == server["OS-EXT-AZ:availability_zone"]
    assert found["image"] == server["image"]
    event = api.wait_event(server["id"], "unshelve", "compute_unshelve_instance")
    assert event["result"] == "Success"
    wait_no_image(api, server)
    assert api.allocations(server["id"]).keys() == {cloud.provider(node)}
    api.wait_console(server["id"], "instance known")


@pytest.mark.core
def test_unshelve_on_another_host(api, boot, cloud, node):
    """Whatever agent runs there: the disk and the port come from one host to the other."""
    other = cloud.other_node(node)
    server = boot(node=other)
    api.wait_console(server["id"], "TINY: ready")
    shelve(api, server)
    unshelve(api, server, node)
    assert server["id"] not in cloud.on(other, "virsh", "list", "--all", "--uuid")
    assert [port["binding:host_id"] for port in api.ports(server["id"])] == [node]
    api.wait_console(server["id"], "instance known")


def test_an_unshelve_that_fails_can_be_repeated(api, boot, cloud, node):
    """A port that cannot be bound here: fault, offloaded as before, nothing left on the host."""
    server = hold(api, boot())
    shelve(api, server)
    (port,) = api.ports(server["id"])

    def set_kind(kind):
        body = {"port": {"binding:vnic_type": kind}}
        api.rest(api.network, "PUT", f"/ports/{port['id']}", body)

    set_kind("direct")
    api.act(server["id"], "unshelve", {"host": node})
    event = api.wait_event(server["id"], "unshelve", "compute_unshelve_instance")
    assert event["result"] == "Error"
    found = api.wait_status(server["id"], "SHELVED_OFFLOADED")
    assert port["id"] in found["fault"]["message"] if "fault" in found else True
    assert_offloaded(api, cloud, node, server)

    set_kind("normal")
    unshelve(api, server, node)


def test_deleted_while_offloaded(api, boot):
    """Port and image go with the server, though no host has it."""
    server = hold(api, boot())
    shelve(api, server)
    api.delete(server["id"])
    api.wait_gone(server["id"])
    assert api.ports(server["id"]) == []
    wait_no_image(api, server)


def test_the_command_line(api, boot, node):
    """``openstack server shelve --offload --wait`` and ``unshelve --wait``."""
    server = hold(api, boot())
    api.cli("server", "shelve", "--offload", "--wait", server["id"])
    assert api.server(server["id"])["status"] == "SHELVED_OFFLOADED"
    api.cli("server", "unshelve", "--host", node, "--wait", server["id"])
    assert api.server(server["id"])["status"] == "ACTIVE"


@pytest.fixture(scope="module")
def patient_host(cloud, node):
    """The host keeps shelved servers for a while."""
    file = cloud.state / "etc" / node / "nova.local.conf"
    before = file.read_text()
    file.write_text(
        f"{before}\n[DEFAULT]\nshelved_offload_time = {SHELF_SECONDS}\nshelved_poll_interval = 5\n"
    )
    cloud.restart_agent(node)
    yield node
    file.write_text(before)
    cloud.restart_agent(node)


@pytest.mark.usefixtures("patient_host")
def test_shelved_on_its_host(api, boot, cloud, node):
    """It can be unshelved there or offloaded; after a while it leaves by itself."""
    waiting, server = hold(api, boot()), hold(api, boot())
    uuid = server["id"]
    shelve(api, server, "SHELVED")
    shelve(api, waiting, "SHELVED")
    assert "shut off" in cloud.on(node, "virsh", "domstate", uuid)
    assert api.server(uuid)["OS-EXT-SRV-ATTR:host"] == node

    api.act(uuid, "unshelve")
    api.wait_status(uuid, "ACTIVE")
    wait_no_image(api, server)

    shelve(api, hold(api, server), "SHELVED")
    api.act(uuid, "shelveOffload")
    api.wait_status(uuid, "SHELVED_OFFLOADED")
    assert_offloaded(api, cloud, node, server)
    event = api.wait_event(uuid, "shelveOffload", "compute_shelve_offload_instance")
    assert event["result"] == "Success"

    api.wait_status(waiting["id"], "SHELVED_OFFLOADED", SHELF_SECONDS + 60)
    assert_offloaded(api, cloud, node, waiting)


@pytest.fixture
def apart(api, garbage):
    """A group whose servers want to be on different hosts; its id."""
    body = {"server_group": {"name": f"nlt-{uuid.uuid4().hex[:8]}", "policy": "anti-affinity"}}
    group = api.call("POST", "/os-server-groups", body)["server_group"]["id"]
    garbage.later(lambda: api.call("DELETE", f"/os-server-groups/{group}"))
    return group


def test_the_host_itself_keeps_servers_apart(api, boot, node, garbage, apart):
    """A server that was forced past the scheduler is refused where another of its group is."""
    hints = {"group": apart}
    boot(hints=hints, networks="none")
    zone = f"nova:{node}"
    forced = api.request_boot(None, hints=hints, networks="none", availability_zone=zone)
    garbage.server(forced["id"])
    with pytest.raises(CloudError, match="nti-affinity instance group policy was violated"):
        api.wait_status(forced["id"], "ACTIVE", 120)
    assert api.allocations(forced["id"]) == {}
