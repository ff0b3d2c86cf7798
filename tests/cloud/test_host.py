"""The host as administrators see it."""

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud
DISABLED = "COMPUTE_STATUS_DISABLED"


def traits(api, cloud, node):
    return api.placement_get(f"/resource_providers/{cloud.provider(node)}/traits")["traits"]


def compute_service(api, node):
    (found,) = api.call("GET", f"/os-services?host={node}&binary=nova-compute")["services"]
    return found


@pytest.mark.core
def test_the_service_is_up(api, node):
    """``openstack compute service list`` shows the host up and enabled."""
    listed = api.cli("compute", "service", "list", "--host", node, parse=True)
    (found,) = [service for service in listed if service["Binary"] == "nova-compute"]
    assert (found["State"], found["Status"]) == ("up", "enabled")


def test_disabling_reaches_placement(api, cloud, node, garbage):
    """``compute service set --disable`` puts a trait on the provider, ``--enable`` removes it."""
    service = compute_service(api, node)["id"]
    garbage.later(lambda: api.call("PUT", f"/os-services/{service}", {"status": "enabled"}))
    api.cli("compute", "service", "set", "--disable", "--disable-reason", "test", node,
            "nova-compute")  # fmt: skip
    wait_for("trait", lambda: DISABLED in traits(api, cloud, node), 20)
    api.cli("compute", "service", "set", "--enable", node, "nova-compute")
    wait_for("no trait", lambda: DISABLED not in traits(api, cloud, node), 20)


def test_disabled_while_the_agent_was_away(api, cloud, node, garbage):
    """An agent that starts on a disabled host reports the trait by itself."""
    service = compute_service(api, node)["id"]
    kind = cloud.agent_kind(node)

    def enable():
        cloud.switch_agent(node, kind)
        api.call("PUT", f"/os-services/{service}", {"status": "enabled"})
        wait_for("no trait", lambda: DISABLED not in traits(api, cloud, node), 60)

    garbage.later(enable)
    # Nova's API waits a minute for the absent agent when it is asked; the books are enough here.
    cloud.switch_agent(node, "none")
    cloud.sql(f"update services set disabled=1 where host='{node}' and topic='compute'")
    cloud.switch_agent(node, kind)
    wait_for("trait", lambda: DISABLED in traits(api, cloud, node), 60)


def test_the_hypervisor_and_its_uptime(api, cloud, node):
    """``openstack hypervisor show`` asks the agent for the uptime."""
    shown = api.cli("hypervisor", "show", node, parse=True)
    assert shown["state"] == "up"
    assert shown["uptime"] or shown.get("host_time")
    assert shown["host_ip"] == cloud.setting(node, "my_ip", "")


@pytest.mark.core
def test_the_inventory_of_the_host(api, cloud, node):
    """Placement holds CPUs, memory and disk, with the configured ratios and reservations."""
    path = f"/resource_providers/{cloud.provider(node)}/inventories"
    inventories = api.placement_get(path)["inventories"]
    assert set(inventories) >= {"VCPU", "MEMORY_MB", "DISK_GB"}
    ratio = float(cloud.setting(node, "initial_cpu_allocation_ratio", "4"))
    assert inventories["VCPU"]["allocation_ratio"] == ratio
    reserved = int(cloud.setting(node, "reserved_host_memory_mb", "512"))
    assert inventories["MEMORY_MB"]["reserved"] == reserved


def test_the_traits_of_the_host(api, cloud, node):
    """The provider has the traits that image and flavor filters ask for."""
    found = traits(api, cloud, node)
    assert "COMPUTE_IMAGE_TYPE_QCOW2" in found
    assert "COMPUTE_NODE" in found
    assert any(trait.startswith("HW_CPU_X86_") for trait in found)


@pytest.mark.core
def test_a_restart_leaves_servers_alone(api, cloud, node, server):
    """Restarting the agent neither touches the guest nor the state of its server."""
    before = cloud.on(node, "virsh", "domid", server["id"])
    cloud.restart_agent(node)
    wait_for("service up", lambda: compute_service(api, node)["state"] == "up", 90)
    assert cloud.on(node, "virsh", "domid", server["id"]) == before
    assert api.server(server["id"])["status"] == "ACTIVE"
    # It answers again.
    wait_for("console", lambda: "TINY: booted" in api.console(server["id"]), 60)


def test_a_guest_that_stopped_while_the_agent_was_away(api, cloud, node, boot):
    """A guest that powered off while nobody looked is SHUTOFF once the agent is back."""
    server = boot()["id"]
    kind = cloud.agent_kind(node)
    cloud.switch_agent(node, "none")
    cloud.on(node, "virsh", "destroy", server)
    cloud.switch_agent(node, kind)
    api.wait_status(server, "SHUTOFF", 120)
