"""Pause, suspend, crash dump, diagnostics: states, events, and what the guest notices."""

import re

import pytest

from tests.cloud.support.devcloud import wait_for

pytestmark = pytest.mark.cloud

RUNNING, PAUSED, OFF = 1, 3, 4


def power(found):
    return found["OS-EXT-STS:vm_state"], found["OS-EXT-STS:power_state"]


def domain_state(cloud, node, uuid):
    return cloud.on(node, "virsh", "domstate", uuid).strip()


def domain_id(cloud, node, uuid):
    return cloud.on(node, "virsh", "domid", uuid).strip()


def refused(api, uuid, action, arguments=None):
    """HTTP status of an action that is not possible now."""
    return api.call("POST", f"/servers/{uuid}/action", {action: arguments}, ok=False).status_code


@pytest.mark.core
def test_pause_and_unpause(api, server, cloud, node):
    """The guest stands still and goes on as the same process."""
    uuid = server["id"]
    process = domain_id(cloud, node, uuid)
    api.act(uuid, "pause")
    assert power(api.wait_status(uuid, "PAUSED")) == ("paused", PAUSED)
    assert domain_state(cloud, node, uuid) == "paused"
    assert api.wait_event(uuid, "pause", "compute_pause_instance")["result"] == "Success"
    assert refused(api, uuid, "pause") == 409
    assert refused(api, uuid, "os-stop") == 409

    api.act(uuid, "unpause")
    assert power(api.wait_status(uuid, "ACTIVE")) == ("active", RUNNING)
    assert domain_state(cloud, node, uuid) == "running"
    assert domain_id(cloud, node, uuid) == process
    assert api.wait_event(uuid, "unpause", "compute_unpause_instance")["result"] == "Success"
    assert refused(api, uuid, "unpause") == 409


@pytest.mark.core
def test_suspend_and_resume(api, server, cloud, node):
    """The guest's memory survives: it goes on where it was, without booting."""
    uuid = server["id"]
    api.act(uuid, "suspend")
    assert power(api.wait_status(uuid, "SUSPENDED")) == ("suspended", OFF)
    assert domain_state(cloud, node, uuid) == "shut off"
    assert "saved" in cloud.on(node, "virsh", "list", "--all", "--managed-save")
    assert api.wait_event(uuid, "suspend", "compute_suspend_instance")["result"] == "Success"
    for action in ("os-start", "os-stop", "pause", "suspend"):
        assert refused(api, uuid, action) == 409

    api.act(uuid, "resume")
    assert power(api.wait_status(uuid, "ACTIVE")) == ("active", RUNNING)
    assert api.wait_event(uuid, "resume", "compute_resume_instance")["result"] == "Success"
    assert "Managed save:   no" in cloud.on(node, "virsh", "dominfo", uuid)
    assert refused(api, uuid, "resume") == 409


@pytest.fixture
def suspended(api, boot):
    uuid = boot()["id"]
    api.act(uuid, "suspend")
    api.wait_status(uuid, "SUSPENDED")
    return uuid


def test_a_hard_reboot_of_a_suspended_server_boots_it(api, suspended, cloud, node):
    """Its memory is dropped with all that was in it."""
    api.act(suspended, "reboot", {"type": "HARD"})
    assert power(api.wait_status(suspended, "ACTIVE")) == ("active", RUNNING)
    assert "Managed save:   no" in cloud.on(node, "virsh", "dominfo", suspended)
    api.act(suspended, "suspend")
    api.wait_status(suspended, "SUSPENDED")  # and may be suspended when it is deleted


def test_the_memory_survives_the_agent_and_libvirt(api, suspended, cloud, node):
    """Neither forgets about a suspended server, and none of them starts or stops it."""
    cloud.agent(node).kill()
    cloud.process(f"{node}-libvirtd").kill()
    cloud.run("node", node, "up")
    cloud.run("agent", node, "restart")
    assert power(api.server(suspended)) == ("suspended", OFF)
    api.act(suspended, "resume")
    api.wait_status(suspended, "ACTIVE")


def test_a_crash_dump_is_triggered(api, server):
    """The guest gets an NMI; one that does not care goes on, and so does the server."""
    uuid = server["id"]
    before = len(api.console(uuid))
    api.act(uuid, "trigger_crash_dump")
    event = api.wait_event(uuid, "trigger_crash_dump", "compute_trigger_crash_dump")
    assert event["result"] == "Success"
    wait_for("the guest's word on the NMI", lambda: "NMI" in api.console(uuid)[before:], 30)
    assert power(api.server(uuid)) == ("active", RUNNING)


def diagnostics(api, uuid, version):
    return api.compute.get(f"/servers/{uuid}/diagnostics", microversion=version)


def kinds(value):
    """A decoded JSON value with its types in place of its values."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value).__name__


COUNTERS = ("drop", "errors", "octets", "packets")
NIC = {"mac_address": "str", "rx_rate": "NoneType", "tx_rate": "NoneType"} | {
    f"{way}_{counter}": "int" for way in ("rx", "tx") for counter in COUNTERS
}
DISK = dict.fromkeys(
    ("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count"), "int"
)


def test_diagnostics(api, server):
    """Names and types of both forms are those of stock nova-compute."""
    uuid = server["id"]
    found = diagnostics(api, uuid, "2.48").json()
    assert kinds(found) == {
        "state": "str", "driver": "str", "hypervisor": "str", "hypervisor_os": "str",
        "uptime": "int", "config_drive": "bool",
        "num_cpus": "int", "num_nics": "int", "num_disks": "int",
        "memory_details": {"maximum": "int", "used": "int"},
        "cpu_details": [{"id": "int", "time": "int", "utilisation": "NoneType"}],
        "nic_details": [NIC],
        "disk_details": [DISK],
    }  # fmt: skip
    assert (found["state"], found["driver"]) == ("running", "libvirt")
    assert found["hypervisor_os"] == "linux"
    assert found["nic_details"][0]["mac_address"] == api.ports(uuid)[0]["mac_address"]

    legacy = diagnostics(api, uuid, "2.1").json()
    tap = f"tap{api.ports(uuid)[0]['id'][:11]}"
    names = {re.sub(f"^{tap}", "tap", name) for name in legacy}
    assert {
        "cpu0_time", "memory", "memory-actual", "memory-rss",
        "vda_read", "vda_read_req", "vda_write", "vda_write_req", "vda_errors",
        "tap_rx", "tap_rx_packets", "tap_rx_errors", "tap_rx_drop",
        "tap_tx", "tap_tx_packets", "tap_tx_errors", "tap_tx_drop",
    } <= names  # fmt: skip
    assert set(kinds(legacy).values()) == {"int"}


def test_diagnostics_of_a_server_that_is_off(api, server):
    """409, and the message says why."""
    uuid = server["id"]
    api.act(uuid, "os-stop")
    api.wait_status(uuid, "SHUTOFF")
    for version in ("2.1", "2.48"):
        answer = diagnostics(api, uuid, version)
        assert answer.status_code == 409
        assert "shutdown" in answer.json()["conflictingRequest"]["message"]
    api.act(uuid, "os-start")
    api.wait_status(uuid, "ACTIVE")
