"""Servers that only nova-compute can serve: they are refused before anything of them is touched."""

from __future__ import annotations

import pytest

from nova_lite.model.network import Network, Vif
from nova_lite.model.states import PowerState
from nova_lite.wire import network_info
from nova_lite.wire.objects import WireObject
from tests.unit.operations.host import Host, build_arguments
from tests.unit.operations.test_power_failures import REBUILD, RESCUE

SHELF = "55555555-2222-3333-4444-555555555555"
TOUCHING = {"define", "redefine", "undefine", "destroy", "shutdown", "start", "resume", "save"}
REBOOT = {"reboot_type": "HARD", "block_device_info": None}


def nested(name, version, **data):
    made = WireObject.new(name, version, **data)
    made.clear_changes()
    return made.primitive


def with_extra_spec(host):
    with host.conductor.database() as tables:
        flavor = tables["Instance"][host.server]["flavor"]["nova_object.data"]
        flavor["extra_specs"] = {"pci_passthrough:alias": "gpu:1"}


def with_request(host):
    asked = nested("InstancePCIRequest", "1.4", alias_name="gpu", count=1, request_id="r1")
    host.set(
        pci_requests=nested(
            "InstancePCIRequests", "1.1", instance_uuid=host.server, requests=[asked]
        )
    )


def with_hardware_port(host):
    with host.conductor.database() as tables:
        port = Vif("p1", "fa:16:3e:00:00:01", Network("n1"), "hw_veb", vnic_type="direct")
        tables["InstanceInfoCache"][host.server]["network_info"] = network_info.dump([port])


def with_port_of_unknown_kind(host):
    """There is no driver for its vif_type here."""
    host.vifs.unknown.update(host.vifs.ports)


def with_defined_device(host):
    host.hypervisor.foreign[host.server] = ("mediated device 1234",)


def with_tpm(host):
    with host.conductor.database() as tables:
        metadata = tables["Instance"][host.server]["system_metadata"]
        metadata.update(image_hw_tpm_version="2.0", image_hw_tpm_model="tpm-tis")


DEVICES = [
    with_extra_spec, with_request, with_hardware_port, with_port_of_unknown_kind,
    with_defined_device, with_tpm,
]  # fmt: skip
VERBS = [
    ("reboot_instance", REBOOT, "rebooting_hard", "active"),
    ("reboot_instance", {**REBOOT, "reboot_type": "SOFT"}, "rebooting", "active"),
    ("start_instance", {}, "powering-on", "stopped"),
    ("rescue_instance", RESCUE, "rescuing", "active"),
    ("rebuild_instance", REBUILD, "rebuilding", "active"),
]


def faults(host):
    rows = host.conductor.read().get("InstanceFault", {}).values()
    return [row["message"] for row in rows]


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.boot()
    return made


@pytest.mark.parametrize("prepare", DEVICES, ids=lambda prepare: prepare.__name__)
@pytest.mark.parametrize(
    ("method", "arguments", "task", "vm_state"), VERBS, ids=lambda value: str(value)[:20]
)
def test_a_guest_with_foreign_devices_is_not_touched(
    host, prepare, method, arguments, task, vm_state
):
    """Stock has made it: it goes on with all it has, and its user reads what is the matter."""
    guest = host.hypervisor.guests[host.server]
    guest.state = PowerState.RUNNING if vm_state == "active" else PowerState.SHUTDOWN
    host.set(vm_state=vm_state, task_state=task)
    prepare(host)
    before, files = (guest.spec, guest.state), host.look()["files"]
    host.hypervisor.calls.clear()

    host.run(method, **arguments)

    assert [call for call, _ in host.hypervisor.calls if call in TOUCHING] == []
    assert (guest.spec, guest.state) == before
    assert host.look()["files"] == files
    assert len(faults(host)) == 1
    found = host.look()
    assert (found["vm_state"], found["task_state"]) == (
        "error" if method == "rebuild_instance" else vm_state,
        None,
    )


def test_a_stopped_server_whose_hard_reboot_is_refused_stays_stopped(host):
    """ERROR would take from its user what the refusal has left."""
    host.hypervisor.guests[host.server].state = PowerState.SHUTDOWN
    host.set(vm_state="stopped", task_state="rebooting_hard")
    with_request(host)

    host.run("reboot_instance", **REBOOT)

    assert (host.look()["vm_state"], host.look()["guest"]) == ("stopped", "SHUTDOWN")


def test_a_rescued_server_is_not_unrescued_without_its_devices(host):
    """A definition that was kept has them; without one the records count, and the rescue system
    runs on."""
    host.set(task_state="rescuing")
    host.run("rescue_instance", request="req-rescue", **RESCUE)
    (host.state / "instances" / host.server / "unrescue.xml").unlink()
    host.set(task_state="unrescuing")
    with_request(host)
    host.hypervisor.calls.clear()

    host.run("unrescue_instance")

    assert [call for call, _ in host.hypervisor.calls if call in TOUCHING] == []
    assert host.look()["guest"] == "RUNNING"


def test_a_boot_with_pci_requests_goes_to_another_host(tmp_path):
    """Also where no extra spec says so."""
    host = Host(tmp_path)
    with_request(host)

    host.run("build_and_run_instance", **build_arguments())

    assert host.look()["casts"] == ["build_instances"]
    assert (host.look()["guest"], host.look()["files"]) == (None, [])


# --- trusted certificates -----------------------------------------------------------------------
CERTIFICATES = nested("TrustedCerts", "1.0", ids=["c1"])


def fetched(host):
    return sorted(path.name for path in (host.state / "instances" / "_base").glob("*"))


@pytest.mark.parametrize("retry", [True, False])
def test_an_image_that_is_to_be_verified_is_not_booted(tmp_path, retry):
    """Another host may run nova-compute; without one the user learns why."""
    host = Host(tmp_path)
    host.set(trusted_certs=CERTIFICATES)

    host.run("build_and_run_instance", **build_arguments(retry))

    assert fetched(host) == []
    assert host.look()["guest"] is None
    assert host.look()["casts"] == (["build_instances"] if retry else [])
    assert len(faults(host)) == (0 if retry else 1)


@pytest.mark.parametrize(
    ("method", "arguments", "task"),
    [("rescue_instance", RESCUE, "rescuing"), ("rebuild_instance", REBUILD, "rebuilding")],
)
def test_no_verb_starts_an_image_that_is_to_be_verified(host, method, arguments, task):
    """The guest runs on, and nothing is fetched."""
    host.set(task_state=task, trusted_certs=CERTIFICATES)
    before = host.look()
    host.hypervisor.calls.clear()

    host.run(method, **arguments)

    assert [call for call, _ in host.hypervisor.calls if call in TOUCHING] == []
    assert host.look()["files"] == before["files"]
    assert "trusted_image_certificates" in faults(host)[0]


def test_an_unshelved_image_is_to_be_verified_too(tmp_path):
    """The server is offloaded as before, and its snapshot is kept."""
    host = Host(tmp_path)
    host.images.add(SHELF, b"".ljust(1024**2, b"\0"))
    host.set(
        vm_state="shelved_offloaded", task_state="unshelving", trusted_certs=CERTIFICATES,
        system_metadata={"shelved_image_id": SHELF},
    )  # fmt: skip
    image = {**build_arguments()["image"], "id": SHELF}

    host.run("unshelve_instance", image=image, filter_properties={}, node=None)

    assert host.look()["vm_state"] == "shelved_offloaded"
    assert host.look()["guest"] is None
    assert fetched(host) == []
    assert (host.images.directory / SHELF).exists()


def test_a_lost_base_is_not_fetched_again_without_its_verification(host):
    """A start needs the image once more only then."""
    host.hypervisor.guests[host.server].state = PowerState.SHUTDOWN
    host.set(vm_state="stopped", task_state="powering-on", trusted_certs=CERTIFICATES)
    host.run("start_instance", request="req-1")
    assert host.look()["guest"] == "RUNNING"

    for path in (host.state / "instances" / "_base").iterdir():
        path.unlink()
    host.hypervisor.guests[host.server].state = PowerState.SHUTDOWN
    host.set(vm_state="stopped", task_state="powering-on")
    host.run("start_instance", request="req-2")

    assert host.look()["guest"] == "SHUTDOWN"
    assert fetched(host) == []


def test_a_server_with_a_port_of_unknown_kind_can_be_deleted(host, caplog):
    """Nothing here has plugged it; what is left of it is in the log."""
    with_port_of_unknown_kind(host)
    host.set(vm_state="active", task_state="deleting")

    host.run("terminate_instance", bdms=None)

    assert host.hypervisor.guests == {}
    assert faults(host) == []
    assert "what the host has of it stays: port" in caplog.text
