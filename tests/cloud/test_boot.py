"""Boot: disks, configuration, networks, and what users are told of it."""

import json

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import CloudError, wait_for

pytestmark = pytest.mark.cloud
GIB, MIB = 1 << 30, 1 << 20


def test_every_disk_of_the_flavor_reaches_the_guest(api, boot, disk_flavor):
    """Root, ephemeral and swap disk have the flavor's sizes inside the guest."""
    server = boot(flavor=disk_flavor)
    console = api.wait_console(server["id"], "TINY: ready")
    api.wait_console(server["id"], f"disk vda {GIB}")
    for line in (f"disk vdb {GIB}", f"disk vdc {64 * MIB}"):
        assert line in console


@pytest.mark.core
def test_config_drive_key_and_user_data(api, boot):
    """The guest reads its name, its key and its user data from the config drive."""
    script = "#!/bin/sh\necho hello from $(hostname)\n"
    server = boot(image="tiny-pc", config_drive=True, key_name="nova-lite", user_data=script)
    console = api.wait_console(server["id"], "TINY: ready")
    assert "TINY: booted" in console
    assert "TINY: metadata configdrive" in console
    assert f"TINY: hostname {server['name']}" in console
    assert "TINY: keys 1" in console
    assert f"userdata: hello from {server['name']}" in console
    assert "TINY: userdata ran rc=0" in console
    assert api.server(server["id"])["config_drive"] == "True"


@pytest.mark.core
def test_metadata_service_knows_the_guest(api, server):
    """Without a config drive the guest gets name and key over HTTP, which needs its port bound."""
    console = api.console(server["id"])
    assert "TINY: booted" in console
    assert "TINY: metadata http" in console
    assert f"TINY: hostname {server['name']}" in console
    assert "TINY: keys 1" in console


@pytest.mark.core
def test_a_given_port_is_used_and_kept(api, boot, garbage):
    """A server gets the address of a port made before it, and leaves the port when it goes."""
    port = api.create_port()
    garbage.later(lambda: api.delete_port(port["id"]))
    server = boot(networks=[{"port": port["id"]}])
    (found,) = api.ports(server["id"])
    assert found["id"] == port["id"]
    assert found["status"] == "ACTIVE"
    api.wait_console(server["id"], f"TINY: ip {port['fixed_ips'][0]['ip_address']}")
    api.delete(server["id"])
    api.wait_gone(server["id"])
    left = api.rest(api.network, "GET", f"/ports/{port['id']}")["port"]
    assert (left["device_id"], left["device_owner"], left["binding:host_id"]) == ("", "", "")


def test_a_given_address_is_used(api, boot):
    """fixed_ip of the request is the address of the server and of the guest."""
    network = api.network_id("private")
    port = api.create_port()
    address = port["fixed_ips"][0]["ip_address"]  # free as soon as the port is gone
    api.delete_port(port["id"])
    server = boot(networks=[{"uuid": network, "fixed_ip": address}])
    assert [found["addr"] for found in server["addresses"]["private"]] == [address]
    api.wait_console(server["id"], f"TINY: ip {address}")


def test_without_a_network(api, boot):
    """networks=none boots a guest without interfaces."""
    server = boot(networks="none")
    assert server["addresses"] == {}
    assert api.ports(server["id"]) == []
    assert "TINY: nic" not in api.wait_console(server["id"], "TINY: booted")


def test_two_interfaces_in_the_order_of_the_request(api, boot, garbage):
    """Two ports become eth0 and eth1 as they were asked for."""
    ports = [api.create_port() for _ in range(2)]
    for port in ports:
        garbage.later(lambda port=port: api.delete_port(port["id"]))
    server = boot(networks=[{"port": port["id"]} for port in ports])
    console = api.wait_console(server["id"], f"TINY: nic eth1 {ports[1]['mac_address']}")
    assert f"TINY: nic eth0 {ports[0]['mac_address']}" in console


@pytest.mark.alone  # an ordinary user cannot choose a host
def test_network_auto(demo, node, garbage):
    """networks=auto takes the only network of the project, for an ordinary user."""
    server = demo.request_boot(None, networks="auto")
    garbage.server(server["id"])
    found = demo.wait_status(server["id"], "ACTIVE", 180)
    assert list(found["addresses"]) == ["private"]


@pytest.mark.alone  # networks of the whole cloud change
def test_network_auto_of_a_project_without_one(cloud, api, project_of_its_own, node, garbage):
    """networks=auto has Neutron make a network, a subnet and a router ("get me a network")."""
    name, project = project_of_its_own
    own = Api(cloud, project=name)
    server = own.request_boot(node, networks="auto")
    garbage.server(server["id"])
    found = own.wait_status(server["id"], "ACTIVE", 180)
    (port,) = own.ports(server["id"])
    network = own.rest(own.network, "GET", f"/networks/{port['network_id']}")["network"]
    assert (network["name"], network["project_id"]) == ("auto_allocated_network", project)
    assert list(found["addresses"]) == ["auto_allocated_network"]
    (address,) = (ip["ip_address"] for ip in port["fixed_ips"])
    assert address.startswith("10.99.")
    own.wait_console(server["id"], f"TINY: ip {address}")


@pytest.fixture
def project_of_its_own(api, garbage):
    """Name and id of a project without networks, in a cloud that can make some for it."""
    name = f"{NAME_PREFIX}-auto"
    project = api.cli("project", "create", name, parse=True)["id"]
    garbage.later(lambda: api.cli("project", "delete", project))
    api.cli("role", "add", "--project", project, "--user", "admin", "admin")
    pool = {
        "name": NAME_PREFIX, "prefixes": ["10.99.0.0/16"], "default_prefixlen": 26,
        "shared": True, "is_default": True,
    }  # fmt: skip
    made = api.rest(api.network, "POST", "/subnetpools", {"subnetpool": pool})["subnetpool"]
    garbage.later(lambda: api.rest(api.network, "DELETE", f"/subnetpools/{made['id']}"))
    # The way out is the public network, and none is shared.
    for network, changed in (("public", "is_default"), ("private", "shared")):
        path, value = f"/networks/{api.network_id(network)}", network == "public"
        api.rest(api.network, "PUT", path, {"network": {changed: value}})
        before = {"network": {changed: not value}}
        garbage.later(
            lambda path=path, body=before: api.rest(api.network, "PUT", path, body)
        )
    topology = f"/auto-allocated-topology/{project}"
    garbage.later(lambda: api.rest(api.network, "DELETE", topology))
    return name, project


def test_many_disks_and_ports_at_once_by_name(api, boot, node):
    """A server says where it runs and what it is made of."""
    server = boot(metadata={"purpose": "test"})
    assert server["OS-EXT-SRV-ATTR:host"] == node
    assert server["OS-EXT-SRV-ATTR:hypervisor_hostname"]
    assert server["OS-EXT-STS:power_state"] == 1
    assert server["OS-SRV-USG:launched_at"]
    assert server["metadata"] == {"purpose": "test"}
    assert server["OS-EXT-SRV-ATTR:root_device_name"] == "/dev/vda"


@pytest.mark.core
def test_the_story_of_a_boot(api, server, node):
    """The action 'create' has one event of the host, with success and both times."""
    api.wait_event(server["id"], "create", "compute__do_build_and_run_instance")
    events = {event["event"]: event for event in api.events(server["id"], "create")}
    event = events["compute__do_build_and_run_instance"]
    assert event["result"] == "Success"
    assert event["host"] == node
    assert event["start_time"] <= event["finish_time"]


def test_the_story_on_the_command_line(api, server):
    """``openstack server event list`` and ``show`` tell the same."""
    (action,) = api.cli("server", "event", "list", server["id"], parse=True)
    assert action["Action"] == "create"
    shown = api.cli("server", "event", "show", server["id"], action["Request ID"], parse=True)
    events = shown["events"] if isinstance(shown["events"], list) else json.loads(shown["events"])
    assert any(event["event"] == "compute__do_build_and_run_instance" for event in events)


@pytest.mark.core
def test_boot_and_delete_on_the_command_line(api, node, garbage):
    """The unmodified client boots a server and deletes it."""
    name = "nlt-command-line"
    api.cli("server", "create", "--image", "tiny-fast", "--flavor", "m1.nano", "--network",
            "private", "--host", node, "--wait", name)  # fmt: skip
    shown = api.cli("server", "show", name, parse=True)
    garbage.server(shown["id"])
    assert shown["status"] == "ACTIVE"
    api.cli("server", "delete", "--wait", name)
    with pytest.raises(CloudError, match="No [Ss]erver found"):
        api.cli("server", "show", name)


@pytest.mark.core
def test_the_port_comes_up_by_its_event(api: Api, server, cloud, node):
    """The boot waits for network-vif-plugged and gets it: no waiting until the timeout.

    With vif_plugging_is_fatal a lost event would end in ERROR; the bound is that timeout.
    """
    (port,) = api.ports(server["id"])
    assert port["status"] == "ACTIVE"
    assert port["binding:host_id"] == node
    assert port["binding:vif_type"] == "ovs"
    assert cloud.setting(node, "vif_plugging_is_fatal", "true") == "true"


@pytest.mark.core
def test_resources_are_allocated_on_the_host(api, server, cloud, node):
    """Placement holds the flavor's resources for the server, on this host's provider."""
    wait_for("allocation", lambda: api.allocations(server["id"]), 10)
    allocations = api.allocations(server["id"])
    assert list(allocations) == [cloud.provider(node)]
    assert allocations[cloud.provider(node)]["resources"] == {
        "VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}  # fmt: skip

