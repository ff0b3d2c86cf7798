"""Ports of every kind that this machine can have, in guests of a real libvirt and QEMU.

Drivers, Open vSwitch (userspace datapath) and libvirtd share a network namespace. The guests have
no system; a reset lets the firmware give back what was unplugged.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor
from nova_lite.guest import devices
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import MemoryBacking, NicSpec
from nova_lite.model.network import Vif
from nova_lite.model.states import PowerState
from tests.fakes import private_ovs
from tests.fakes.guests import tiny_guest
from tests.fakes.ports import BRIDGE, HYBRID, MACVTAP, OVN_BEFORE_2026_2, SERVER, SOCKET, TAP, VIF
from tests.fakes.private_libvirtd import PrivateLibvirtd
from tests.fakes.private_ovs import PrivateOvs, Worker
from tests.fakes.servers import QEMU, a_server
from tests.fakes.vhost_user import FakeSwitch
from tests.fakes.vif_worker import RemoteVifs
from tests.libvirt_driver import connected, driver_at

pytestmark = pytest.mark.libvirt

KINDS = {
    "ovs with its tap": VIF,
    "ovs with libvirt's tap": OVN_BEFORE_2026_2,
    "ovs behind a bridge": HYBRID,
    "bridge": BRIDGE,
    "tap": TAP,
    "macvtap": MACVTAP,
    "vhost-user": SOCKET,
}
IN_SWITCH = {
    "ovs with its tap": VIF.devname,
    "ovs with libvirt's tap": VIF.devname,
    "ovs behind a bridge": "qvo0725fe29-8b",
}
RUN = "tests.fakes.private_ovs:run"


class Host:
    """libvirtd, Open vSwitch, and the drivers in a process of their own."""

    def __init__(self, daemon: PrivateLibvirtd, folder: Path) -> None:
        # In the PID namespace of the tests, where a process can be killed.
        self.enter = [part for part in daemon.enter() if part not in ("--pid", "--uts")]
        self.folder = folder
        self.switch = PrivateOvs(folder, self.enter)
        self.restart()
        self.switch.call(RUN, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
        for name in ("eth1", "eth2"):
            self.switch.call(RUN, "ip", "link", "set", name, "up")

    def restart(self) -> None:
        """Start the drivers anew; of the process that had them nothing is left but its deeds."""
        self.worker = Worker(self.enter)
        self.vifs = RemoteVifs(self.switch, self.folder, self.worker)

    def kill(self) -> None:
        self.worker.process.kill()
        self.worker.process.wait(10)

    def links(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.switch.call(RUN, "ip", "-j", "-d", "link", "show"))
        return {link["ifname"]: link for link in found}

    def interface(self, port: str, *columns: str) -> list[str]:
        """What ovs-vswitchd says of the port; nothing when it has none."""
        more = ("--if-exists", "get", "Interface", port, *columns)
        return self.switch.call("tests.fakes.private_ovs:vsctl", str(self.folder), *more).split()

    def in_switch(self, port: str) -> bool:
        """Whether ovs-vswitchd has given the port a number."""
        return any(said.isdigit() for said in self.interface(port, "ofport"))

    def received(self, port: str) -> int:
        """Packets that have come from the port."""
        return int(*self.interface(port, "statistics:rx_packets"))

    def close(self) -> None:
        self.worker.close()
        self.switch.close()


@pytest.fixture(scope="module")
def host(private_libvirtd: PrivateLibvirtd, tmp_path_factory: Any) -> Iterator[Host]:
    if reason := private_ovs.usable():
        pytest.skip(f"no private Open vSwitch: {reason}")
    made = Host(private_libvirtd, tmp_path_factory.mktemp("ovs"))
    yield made
    made.close()


@pytest.fixture
def driver(libvirt_uri: str) -> Iterator[LibvirtHypervisor]:
    with connected(driver_at(libvirt_uri)) as hypervisor:
        yield hypervisor


@pytest.fixture
def domain(libvirt_uri: str, driver: LibvirtHypervisor) -> Iterator[Any]:
    """libvirt's own view of a guest."""
    connection = libvirt.open(libvirt_uri)
    yield connection.lookupByUUIDString
    connection.close()


@pytest.fixture(params=KINDS)
def kind(request: Any, host: Host, tmp_path: Path) -> Iterator[str]:
    """Afterwards the host is as it was."""
    before = set(host.links())
    yield request.param
    host.vifs.unplug(port(request.param, tmp_path), **SERVER)
    left = set(host.links()) - before
    if request.param == "bridge":
        assert left <= {BRIDGE.network.bridge}
        for name in left:
            host.switch.call(RUN, "ip", "link", "del", name)
    else:
        assert left == set()
    assert host.vifs.plugged_vifs() == {}


def port(kind: str, folder: Path) -> Vif:
    vif = KINDS[kind]
    if kind != "vhost-user":
        return vif
    return replace(vif, details={**vif.details, "vhostuser_socket": str(folder / "vhu")})


@pytest.fixture
def other_switch(kind: str, tmp_path: Path) -> Iterator[None]:
    """The server of a vhost-user socket."""
    switch = FakeSwitch()
    if kind == "vhost-user":
        switch.listen(tmp_path / "vhu")
    yield
    switch.close()


def card(host: Host, vif: Vif) -> NicSpec:
    """The network card as a guest of this host gets it."""
    server = a_server()
    nic = host.vifs.nic(vif, model=devices.nic_model(server, QEMU), queues=None)
    return devices.finish_nic(nic, Properties(server), QEMU)


def guest_with(folder: Path, *nics: NicSpec) -> Any:
    return tiny_guest(folder, nics=nics, memory_backing=MemoryBacking(shared=True))


def eventually(question: Any, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def device_of(driver: LibvirtHypervisor, uuid: str) -> str:
    """The host device of the guest's only card."""
    return dict(driver.taps(uuid)).get(VIF.mac, "")


def assert_wired(host: Host, driver: LibvirtHypervisor, kind: str, uuid: str) -> None:
    """The guest's card is where the port says, on the host and in its switch."""
    if kind == "vhost-user":
        return
    device = host.links()[device_of(driver, uuid)]
    master = {"bridge": BRIDGE.network.bridge, "ovs behind a bridge": "qbr0725fe29-8b"}.get(kind)
    assert device.get("master") == master
    if kind == "macvtap":
        assert (device["linkinfo"]["info_kind"], device["link"]) == ("macvtap", "eth1")
        assert device["linkinfo"]["info_data"]["mode"] == "bridge"
        assert device["address"] == VIF.mac
    else:
        assert (device["ifname"], device["mtu"]) == (VIF.devname, 1442)
    if kind in IN_SWITCH:
        name = IN_SWITCH[kind]
        assert eventually(lambda: host.in_switch(name))
        before = host.received(name)

        def comes_through() -> bool:
            driver.announce(uuid)  # before the switch is ready it is lost
            return host.received(name) > before

        assert eventually(comes_through, 60), "nothing comes from the guest"
        ((found,),) = host.vifs.plugged_vifs().values()
        assert found.id == VIF.id


@pytest.mark.usefixtures("other_switch")
def test_a_guest_starts_with_the_port(
    host: Host, driver: LibvirtHypervisor, kind: str, tmp_path: Path
) -> None:
    """Plugged twice, as by an agent that was killed; unplugged twice, and once more when gone."""
    vif = port(kind, tmp_path)
    for _ in range(2):
        host.vifs.plug(vif, **SERVER)
        assert host.vifs.plugged(vif)
    spec = guest_with(tmp_path, card(host, vif))
    driver.define(spec)

    driver.start(spec.uuid)

    assert driver.power_state(spec.uuid) == PowerState.RUNNING
    assert_wired(host, driver, kind, spec.uuid)
    driver.destroy(spec.uuid)
    for _ in range(2):
        host.vifs.unplug(vif, **SERVER)
    if kind not in ("bridge", "macvtap", "vhost-user"):
        assert not host.vifs.plugged(vif)


@pytest.mark.usefixtures("other_switch")
def test_a_guest_starts_again_with_what_is_left(
    host: Host, driver: LibvirtHypervisor, kind: str, tmp_path: Path
) -> None:
    """A hard reboot: the power is cut, the port plugged once more, the guest defined anew."""
    vif = port(kind, tmp_path)
    spec = None
    for _ in range(2):
        host.vifs.plug(vif, **SERVER)
        changed = {"uuid": spec.uuid, "name": spec.name} if spec else {}
        spec = replace(guest_with(tmp_path, card(host, vif)), **changed)
        driver.define(spec)
        driver.start(spec.uuid)
        assert_wired(host, driver, kind, spec.uuid)
        driver.destroy(spec.uuid)


@pytest.mark.usefixtures("other_switch")
def test_the_port_comes_to_a_running_guest_and_leaves_it(
    host: Host, driver: LibvirtHypervisor, domain: Any, kind: str, tmp_path: Path
) -> None:
    """Hot plug and unplug; the device that libvirt made is gone with the card."""
    vif = port(kind, tmp_path)
    spec = guest_with(tmp_path)
    driver.define(spec)
    driver.start(spec.uuid)
    host.vifs.plug(vif, **SERVER)

    for _ in range(2):
        driver.attach_nic(spec.uuid, card(host, vif))

    assert domain(spec.uuid).XMLDesc(0).count("<interface") == 1
    assert_wired(host, driver, kind, spec.uuid)
    detach(driver, domain(spec.uuid), vif)
    assert "<interface" not in domain(spec.uuid).XMLDesc(0)
    assert "<interface" not in domain(spec.uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    host.vifs.unplug(vif, **SERVER)
    assert driver.power_state(spec.uuid) == PowerState.RUNNING


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.4])
@pytest.mark.usefixtures("other_switch")
def test_an_agent_that_is_killed_while_it_plugs_does_it_again(
    host: Host, driver: LibvirtHypervisor, kind: str, tmp_path: Path, seconds: float
) -> None:
    """Wherever it was cut off, the next one brings the port up; the same when it unplugs."""
    vif = port(kind, tmp_path)
    killed(host, "plug", vif, seconds)
    host.vifs.plug(vif, **SERVER)
    spec = guest_with(tmp_path, card(host, vif))
    driver.define(spec)
    driver.start(spec.uuid)
    assert_wired(host, driver, kind, spec.uuid)
    driver.destroy(spec.uuid)
    killed(host, "unplug", vif, seconds)
    host.vifs.unplug(vif, **SERVER)


def test_a_guest_waits_for_the_switch_that_connects_to_its_socket(
    host: Host, driver: LibvirtHypervisor, domain: Any, tmp_path: Path
) -> None:
    """vhostuser_mode server: QEMU makes the socket, as Open vSwitch with DPDK wants it."""
    details = {"vhostuser_socket": str(tmp_path / "vhu"), "vhostuser_mode": "server"}
    nic = card(host, replace(SOCKET, details=details))
    spec = guest_with(tmp_path, nic)
    driver.define(spec)
    starting = threading.Thread(target=driver.start, args=(spec.uuid,))
    switch = FakeSwitch()
    starting.start()
    try:
        assert eventually((tmp_path / "vhu").is_socket)
        time.sleep(0.5)
        assert starting.is_alive()
        switch.connect(tmp_path / "vhu")
        starting.join(30)
        assert driver.power_state(spec.uuid) == PowerState.RUNNING
        assert switch.guests
    finally:
        driver.destroy(spec.uuid)
        starting.join(30)
        switch.close()


def detach(driver: LibvirtHypervisor, domain: Any, vif: Vif) -> None:
    """Ask for the card while the guest is reset again and again: it has no system to release it."""
    over = threading.Event()

    def reset() -> None:
        while not over.wait(0.5):
            domain.reset(0)

    resetting = threading.Thread(target=reset)
    resetting.start()
    try:
        driver.detach_nic(domain.UUIDString(), vif.mac, vif.devname)
    finally:
        over.set()
        resetting.join()


def killed(host: Host, verb: str, vif: Vif, seconds: float) -> None:
    """Begin a verb in the process of the drivers, kill that soon after, and start a new one."""
    killing = threading.Timer(seconds, host.worker.process.kill)
    killing.start()
    try:
        getattr(host.vifs, verb)(vif, **SERVER)
    except (EOFError, BrokenPipeError):
        pass
    finally:
        killing.join()
        host.kill()
        host.restart()
