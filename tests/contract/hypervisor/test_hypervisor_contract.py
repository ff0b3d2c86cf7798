"""What every hypervisor driver promises, whatever runs the guests (drivers/hypervisor/base.py)."""

from __future__ import annotations

import queue
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import DomainNotFound, HypervisorError
from nova_lite.model.domain import CpuSpec, DomainSpec, GraphicsSpec, NicSpec
from nova_lite.model.host import ConsoleAddress, DomainEvent
from nova_lite.model.states import PowerState
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor
from tests.libvirt_driver import connected, driver_at

NOBODY = "00000000-0000-4000-8000-000000000000"
MAC = "52:54:00:12:34:56"


def real_hypervisor(uri: str) -> Hypervisor:
    # Guests without a system never give a disk back: do not ask for long.
    return driver_at(uri, device_detach_attempts=2, device_detach_timeout=1)


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.libvirt)])
def hypervisor(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    if request.param == "fake":
        driver: Hypervisor = FakeHypervisor()
    else:
        driver = real_hypervisor(request.getfixturevalue("libvirt_uri"))
    with connected(driver):
        yield driver


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    return tiny_guest(tmp_path)


def next_event(
    events: queue.Queue[DomainEvent], wanted: Callable[[DomainEvent], bool]
) -> DomainEvent:
    """The next event that is wanted; others may come in between."""
    while True:
        event = events.get(timeout=20)
        if wanted(event):
            return event


def test_defining_makes_a_guest_known_but_not_running(
    hypervisor: Hypervisor, spec: DomainSpec
) -> None:
    """A defined guest is off until it is started."""
    assert not hypervisor.defined(spec.uuid)

    hypervisor.define(spec)

    assert hypervisor.defined(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.SHUTDOWN


def test_defining_again_replaces_the_definition(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """The last definition counts."""
    hypervisor.define(spec)
    hypervisor.define(replace(spec, vcpus=2, cpu=CpuSpec(sockets=2), memory_kib=80 * 1024))

    (guest,) = hypervisor.domains()
    assert (guest.uuid, guest.name, guest.vcpus) == (spec.uuid, spec.name, 2)
    assert guest.memory_kib == 80 * 1024


def test_a_guest_that_is_known_keeps_what_its_firmware_remembers(
    hypervisor: Hypervisor, spec: DomainSpec, tmp_path: Path
) -> None:
    """What is asked for late does not harm it; of an unknown one there is nothing to remove."""
    hypervisor.define(spec)
    for uuid_, name in ((spec.uuid, spec.name), (NOBODY, "instance-nobody")):
        hypervisor.forget_nvram(uuid_, name)

    assert hypervisor.defined(spec.uuid)
    assert not hypervisor.copy_nvram(NOBODY, tmp_path / "nvram")


def test_a_definition_is_taken_aside_and_put_back(
    hypervisor: Hypervisor, spec: DomainSpec
) -> None:
    """Another guest of the same server may run meanwhile, as in a rescue."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    kept = hypervisor.definition(spec.uuid)
    hypervisor.destroy(spec.uuid)
    hypervisor.define(replace(spec, memory_kib=80 * 1024))

    hypervisor.redefine(spec.uuid, kept)

    (guest,) = hypervisor.domains()
    assert guest.memory_kib == spec.memory_kib
    with pytest.raises(DomainNotFound):
        hypervisor.definition(NOBODY)


@pytest.mark.parametrize("runs", [True, False])
def test_what_is_said_of_the_server_changes(
    hypervisor: Hypervisor, spec: DomainSpec, runs: bool
) -> None:
    """All of it is replaced; the guest itself is not touched."""
    hypervisor.define(replace(spec, metadata={"name": "before", "package": {"version": "1"}}))
    if runs:
        hypervisor.start(spec.uuid)
    for _ in range(2):
        hypervisor.describe(spec.uuid, {"name": "web <1>", "ports": [{"uuid": "a-port"}]})

    said = hypervisor.definition(spec.uuid)
    assert "a-port" in said and "before" not in said
    assert hypervisor.power_state(spec.uuid) == (
        PowerState.RUNNING if runs else PowerState.SHUTDOWN
    )
    with pytest.raises(DomainNotFound):
        hypervisor.describe(NOBODY, {"name": "nobody"})


def test_a_guest_is_defined_under_another_name(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Names may be made of what users change, and an older agent may have given another one."""
    hypervisor.define(spec)
    kept = hypervisor.definition(spec.uuid)
    hypervisor.start(spec.uuid)
    hypervisor.save(spec.uuid)

    hypervisor.define(replace(spec, name="another"))

    (guest,) = hypervisor.domains()
    assert (guest.uuid, guest.name) == (spec.uuid, "another")
    hypervisor.redefine(spec.uuid, kept)
    (guest,) = hypervisor.domains()
    assert (guest.uuid, guest.name) == (spec.uuid, spec.name)


def test_what_this_agent_defines_is_not_foreign(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Devices of other agents are found in the definition."""
    hypervisor.define(spec)

    assert hypervisor.foreign_devices(spec.uuid) == []
    with pytest.raises(DomainNotFound):
        hypervisor.foreign_devices(NOBODY)


def test_a_tpm_opens_with_its_secret_alone(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Its state stays through starts and definitions; nobody starts it without the secret."""
    secret, phrase = str(uuid.uuid4()), b"a passphrase of its user"
    spec = replace(spec, tpm=("tpm-tis", "2.0"), tpm_secret=secret)
    for _ in range(2):
        hypervisor.define(spec)
        hypervisor.set_tpm_secret(spec.uuid, secret, phrase)
        hypervisor.set_tpm_secret(spec.uuid, secret, phrase)
        hypervisor.start(spec.uuid)
        hypervisor.forget_tpm_secret(spec.uuid)
        hypervisor.forget_tpm_secret(spec.uuid)
        assert hypervisor.power_state(spec.uuid) is PowerState.RUNNING
        hypervisor.destroy(spec.uuid)

    with pytest.raises(HypervisorError):
        hypervisor.start(spec.uuid)


def test_a_kept_secret_of_a_tpm_can_be_read(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """It goes on to another host; one that only a start needs nobody reads. Each takes the place of
    the other, and of one with another uuid."""
    secret, other, phrase = str(uuid.uuid4()), str(uuid.uuid4()), b"a passphrase of its user"
    assert hypervisor.tpm_secret(spec.uuid) is None
    for name, kept in (
        (secret, False), (secret, True), (secret, True), (other, True), (other, False),
        (secret, True),
    ):  # fmt: skip
        hypervisor.set_tpm_secret(spec.uuid, name, phrase, kept=kept)
        assert hypervisor.tpm_secret(spec.uuid) == ((name, phrase) if kept else None)

    hypervisor.define(replace(spec, tpm=("tpm-tis", "2.0"), tpm_secret=secret))
    hypervisor.start(spec.uuid)
    hypervisor.destroy(spec.uuid)
    hypervisor.start(spec.uuid)
    hypervisor.forget_tpm_secret(spec.uuid)
    assert hypervisor.tpm_secret(spec.uuid) is None


def test_a_name_taken_by_another_guest_is_refused(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Two guests never share a name."""
    hypervisor.define(spec)
    with pytest.raises(HypervisorError, match=spec.name):
        hypervisor.define(replace(spec, uuid=str(uuid.uuid4())))


def test_life_of_a_guest(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Define, start, power off, forget: each is visible in the power state."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING

    hypervisor.destroy(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.SHUTDOWN

    hypervisor.undefine(spec.uuid)
    assert not hypervisor.defined(spec.uuid)


def test_a_guest_started_paused_waits_for_resume(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """``paused`` holds it before its first instruction, and another start changes nothing."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid, paused=True)
    hypervisor.start(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.PAUSED

    hypervisor.resume(spec.uuid)
    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING


def test_everything_may_be_asked_for_twice(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Repetition succeeds: an operation that was interrupted does its step again."""
    for action, state in (
        (lambda: hypervisor.define(spec), PowerState.SHUTDOWN),
        (lambda: hypervisor.start(spec.uuid), PowerState.RUNNING),
        (lambda: hypervisor.resume(spec.uuid), PowerState.RUNNING),
        (lambda: hypervisor.destroy(spec.uuid), PowerState.SHUTDOWN),
        (lambda: hypervisor.shutdown(spec.uuid), PowerState.SHUTDOWN),
    ):
        action()
        action()
        assert hypervisor.power_state(spec.uuid) == state
    hypervisor.undefine(spec.uuid)
    hypervisor.undefine(spec.uuid)
    assert not hypervisor.defined(spec.uuid)


def test_two_starts_at_once_are_one(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Threads that race to start a guest all succeed."""
    hypervisor.define(spec)
    with ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(hypervisor.start, spec.uuid) for _ in range(4)]
        for start in starts:
            start.result(timeout=60)

    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING


def test_a_running_guest_is_not_forgotten(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Undefining never cuts the power."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    with pytest.raises(HypervisorError, match=spec.uuid):
        hypervisor.undefine(spec.uuid)

    assert hypervisor.power_state(spec.uuid) == PowerState.RUNNING


@pytest.mark.parametrize("method", ["power_state", "start", "resume", "shutdown"])
def test_a_guest_that_is_needed_and_missing_is_named(hypervisor: Hypervisor, method: str) -> None:
    """DomainNotFound says which guest there is none of."""
    with pytest.raises(DomainNotFound, match=NOBODY):
        getattr(hypervisor, method)(NOBODY)


@pytest.mark.parametrize("method", ["destroy", "undefine"])
def test_removing_a_guest_that_is_not_there_succeeds(hypervisor: Hypervisor, method: str) -> None:
    """Deleting twice is as good as deleting once."""
    getattr(hypervisor, method)(NOBODY)

    assert not hypervisor.defined(NOBODY)


def test_an_off_guest_cannot_be_resumed(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Resume is no start."""
    hypervisor.define(spec)
    with pytest.raises(HypervisorError):
        hypervisor.resume(spec.uuid)


def test_the_console_has_an_address_while_the_guest_runs(
    hypervisor: Hypervisor, spec: DomainSpec
) -> None:
    """graphics() answers for the kind asked for, None for another kind or an off guest."""
    hypervisor.define(replace(spec, graphics=(GraphicsSpec("vnc", "127.0.0.1"),)))
    assert hypervisor.graphics(spec.uuid, "vnc") is None

    hypervisor.start(spec.uuid)
    console = hypervisor.graphics(spec.uuid, "vnc")
    assert console is not None
    assert (console.host, console.port >= 5900) == ("127.0.0.1", True)
    assert hypervisor.graphics(spec.uuid, "spice") is None


def test_serial_ports_listen_while_the_guest_runs(
    hypervisor: Hypervisor, spec: DomainSpec
) -> None:
    """All guests' are known, so that none is given twice; one guest's only while it runs."""
    ports = [ConsoleAddress("127.0.0.1", port) for port in (28551, 28550)]
    other = replace(spec, uuid=NOBODY, name="plain")
    hypervisor.define(replace(spec, serial_tcp=("127.0.0.1", (28551, 28550))))
    hypervisor.define(other)
    assert hypervisor.serial_ports(spec.uuid) == []

    hypervisor.start(spec.uuid)

    assert hypervisor.serial_ports(spec.uuid) == ports
    found = hypervisor.all_serial_ports()
    assert {uuid: set(of) for uuid, of in found.items()} == {spec.uuid: set(ports), NOBODY: set()}


def test_devices_are_those_defined(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Disks go by target, network interfaces by MAC address; each has a place of its own."""
    nic = NicSpec(mac=MAC, plug="tap", target="tapdoesnotexi")
    hypervisor.define(replace(spec, nics=(nic,)))

    found = hypervisor.devices(spec.uuid)
    assert [(d.kind, d.name, d.bus) for d in found] == [("disk", "vda", "pci"), ("nic", MAC, "pci")]
    assert len({device.address for device in found}) == 2
    assert all(re.fullmatch("0000:[0-9a-f]{2}:[0-9a-f]{2}.0", str(d.address)) for d in found)
    assert hypervisor.taps(spec.uuid) == [(MAC, "tapdoesnotexi")]


def test_events_tell_the_life_of_a_guest(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Started and stopped arrive in order, off the caller's thread or on it."""
    events: queue.Queue[DomainEvent] = queue.Queue()
    hypervisor.subscribe(events.put)
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    hypervisor.destroy(spec.uuid)

    assert next_event(events, lambda e: e.kind == "started").uuid == spec.uuid
    stopped = next_event(events, lambda e: e.kind == "stopped")
    assert (stopped.uuid, stopped.detail) == (spec.uuid, "destroyed")


def test_a_subscriber_may_ask_back(hypervisor: Hypervisor, spec: DomainSpec) -> None:
    """Callbacks may call the driver: they do not run where libvirt needs to go on."""
    answers: queue.Queue[Any] = queue.Queue()
    hypervisor.subscribe(lambda e: answers.put((e.kind, hypervisor.defined(e.uuid))))
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)

    kinds = {}
    while "started" not in kinds:
        kind, known = answers.get(timeout=20)
        kinds[kind] = known
    assert kinds["started"] is True


def test_facts_describe_a_host_that_can_run_guests(hypervisor: Hypervisor) -> None:
    """The facts are complete enough for ComputeNode and Placement."""
    facts = hypervisor.facts()

    assert facts.hostname and facts.uuid and facts.online_cpus
    assert facts.memory_mb > 100
    assert facts.hypervisor_type == "QEMU"
    assert facts.hypervisor_version >= 6002000
    assert set(facts.cpu) >= {"arch", "model", "vendor", "topology", "features"}
    assert set(facts.cpu["topology"]) == {"cells", "sockets", "cores", "threads"}
    assert (facts.arch, "qemu", "hvm") in facts.guests


def test_capabilities_claim_only_traits_that_exist(hypervisor: Hypervisor) -> None:
    """Placement refuses names that os-traits does not have; the two basic ones are always there."""
    import os_traits

    capabilities = hypervisor.capabilities()

    assert {"COMPUTE_NODE", "OWNER_NOVA"} <= capabilities.traits
    assert capabilities.traits <= set(os_traits.get_traits())
    assert "pc" in capabilities.machine_types["x86_64"]
    assert "bios" in capabilities.firmware


def test_ping_returns(hypervisor: Hypervisor) -> None:
    """A hypervisor that answers lets ping return."""
    assert hypervisor.ping() is None
