"""Delete: nothing is left."""

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud


def things_of(cloud, api, node, server, ports):
    """Everything a running server consists of, by name, and whether it is there."""
    instances = cloud.nova_files(node) / "instances"
    return {
        "domain": server in cloud.on(node, "virsh", "list", "--all", "--uuid"),
        "directory": (instances / server).exists(),
        "port": bool(api.ports(server)),
        "allocation": bool(api.allocations(server)),
        "OVS port": any(port["id"] in cloud.on(node, "ovs-vsctl", "list", "Interface")
                        for port in ports),
    }  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_delete_leaves_nothing(cloud, api, node, boot, stopped):
    """All that a server consists of is there before its deletion and gone after it."""
    server = boot()["id"]
    ports = api.ports(server)
    there = things_of(cloud, api, node, server, ports)
    assert all(there.values()), there
    if stopped:
        api.act(server, "os-stop")
        api.wait_status(server, "SHUTOFF")
    api.delete(server)
    api.wait_gone(server)
    wait_for(
        "nothing left",
        lambda: not any(things_of(cloud, api, node, server, ports).values()),
        15,
    )


@pytest.mark.core
def test_delete_while_it_boots(cloud, api, node, garbage):
    """A server deleted in the middle of its boot goes away without ERROR."""
    server = api.request_boot(node)["id"]
    garbage.server(server)
    wait_for(
        "networking or later",
        lambda: api.server(server)["OS-EXT-STS:task_state"] in ("networking", "spawning", None),
        60,
        pause=0.05,
    )
    api.delete(server)
    api.wait_gone(server)


def test_delete_of_a_server_whose_guest_is_gone(cloud, api, node, boot):
    """Somebody removed the domain by hand: the server can be deleted all the same."""
    server = boot()["id"]
    cloud.on(node, "virsh", "destroy", server)
    # Events of the hypervisor may be handled meanwhile; they must not disturb.
    cloud.on(node, "virsh", "undefine", "--nvram", server, check=False)
    api.delete(server)
    api.wait_gone(server)


def test_delete_in_error(cloud, api, node, boot):
    """A server in ERROR can be deleted like any other."""
    server = boot()["id"]
    api.act(server, "os-resetState", {"state": "error"})
    api.delete(server)
    wait_for("end of the server", lambda: api.gone(server), 60)


@pytest.mark.lite_only  # stock nova-compute looks after such guests every half hour
def test_delete_while_the_agent_was_away(cloud, api, node, boot):
    """Nova deletes servers of a host that is down from its books alone; an agent that comes back
    removes what is left of them."""
    server = boot()["id"]
    ports = api.ports(server)
    kind = cloud.agent_kind(node)
    cloud.switch_agent(node, "none")
    long_ago = "2000-01-01 00:00:00"
    cloud.sql(
        f"update services set updated_at='{long_ago}', last_seen_up='{long_ago}' "
        f"where host='{node}' and topic='compute'"
    )
    api.delete(server)
    api.wait_gone(server)
    cloud.switch_agent(node, kind)
    wait_for(
        "nothing left",
        lambda: not any(things_of(cloud, api, node, server, ports).values()),
        90,
    )
