"""What every VIF driver keeps: the fakes, and os-vif on a real Open vSwitch."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace

import pytest

from nova_lite.errors import SwitchUnavailable, VifTypeUnsupported
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from tests.fakes import private_ovs
from tests.fakes.cloud import TapVifs
from tests.fakes.os_vif_worker import RemoteOsVif
from tests.fakes.private_ovs import PrivateOvs
from tests.fakes.vif import FakeVifDriver

SERVER = {
    "server_uuid": "344a9120-b410-41e7-af51-fddb339207ce",
    "server_name": "instance-00000001",
    "project_id": "f57d419d27dc404daabd811bcfc999e5",
}
PORT = "0725fe29-8b78-4274-82e5-3b20fc53d2c9"
VIF = Vif(
    id=PORT,
    mac="fa:16:3e:ce:a2:fc",
    network=Network(
        id="c0404ec7-bfbe-4160-833b-831d9f414eb1",
        label="net",
        bridge="br-int",
        mtu=1442,
        subnets=(
            Subnet("10.0.0.0/24", 4, "10.0.0.1", ("10.0.0.2",), (FixedIp("10.0.0.5", 4),)),
            Subnet("2001:db8::/64", 6, ips=(FixedIp("2001:db8::5", 6, ()),)),
        ),
    ),
    vif_type="ovs",
    details={"ovs_create_tap": True, "datapath_type": "netdev", "bridge_name": "br-int"},
    devname="tap0725fe29-8b",
    ovs_interfaceid=PORT,
)


@pytest.fixture(scope="module")
def os_vif(tmp_path_factory):
    reason = private_ovs.usable()
    if reason:
        pytest.skip(f"no private Open vSwitch: {reason}")
    folder = tmp_path_factory.mktemp("ovs")
    switch = PrivateOvs(folder)
    yield RemoteOsVif(switch, folder)
    switch.close()


@pytest.fixture(scope="module")
def taps():
    """The functional tests' driver, in a network namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("tap devices need root")
    # Silent until the namespace is there, and over when its standard input is closed.
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; read -r _"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "ready\n"
    yield TapVifs(["nsenter", "-t", str(holder.pid), "--net", "--"])
    holder.communicate()


@pytest.fixture(params=["fake", "taps", "os_vif"])
def driver(request):
    chosen = FakeVifDriver() if request.param == "fake" else request.getfixturevalue(request.param)
    yield chosen
    chosen.unplug(VIF, **SERVER)


def interface(os_vif, name, column="external_ids"):
    """A column of Open vSwitch's Interface record as JSON-like text."""
    return os_vif.switch.call(
        "tests.fakes.private_ovs:vsctl", str(os_vif.folder), "get", "Interface", name, column
    )


def link(os_vif, name):
    return json.loads(
        os_vif.switch.call("tests.fakes.private_ovs:run", "ip", "-j", "-d", "link", "show", name)
    )[0]


def test_a_port_is_plugged_and_unplugged(driver):
    """Its host side appears and disappears."""
    assert driver.supports(VIF)
    assert not driver.plugged(VIF)
    driver.plug(VIF, **SERVER)
    assert driver.plugged(VIF)
    driver.unplug(VIF, **SERVER)
    assert not driver.plugged(VIF)


def test_repeating_changes_nothing(driver):
    """A resumed boot plugs again, a resumed delete unplugs again."""
    for _ in range(2):
        driver.plug(VIF, **SERVER)
        assert driver.plugged(VIF)
    for _ in range(2):
        driver.unplug(VIF, **SERVER)
        assert not driver.plugged(VIF)


@pytest.mark.parametrize("kind", ["fake", "os_vif"])
def test_the_host_says_what_is_plugged(kind, request):
    """By server, and enough of each interface to unplug it: the network cache may have lost it."""
    driver = FakeVifDriver() if kind == "fake" else request.getfixturevalue(kind)
    server = SERVER["server_uuid"]
    assert driver.plugged_vifs() == {}
    driver.plug(VIF, **SERVER)

    found = driver.plugged_vifs()

    assert found.keys() == {server}
    assert driver.plugged_vifs(server) == found
    assert driver.plugged_vifs("344a9120-b410-41e7-af51-000000000000") == {}
    ((vif,),) = found.values()
    assert (vif.id, vif.mac, vif.devname) == (VIF.id, VIF.mac, VIF.devname)
    driver.unplug(vif, **SERVER)
    assert not driver.plugged(VIF)
    assert driver.plugged_vifs() == {}


def test_a_switch_that_lives_is_no_error(driver):
    """However often it is asked."""
    driver.check()
    driver.check()


def test_a_switch_that_hangs_is_found_out_in_seconds(os_vif):
    """os-vif would wait for two minutes, and then log that all is well."""
    pid = (os_vif.folder / "vs.pid").read_text().strip()
    os_vif.plug(VIF, **SERVER)
    os_vif.switch.call("tests.fakes.private_ovs:run", "kill", "-STOP", pid)
    try:
        began = time.monotonic()
        with pytest.raises(SwitchUnavailable, match="ovs-vswitchd does not answer"):
            os_vif.check()
        with pytest.raises(SwitchUnavailable, match=PORT):
            os_vif.unplug(VIF, **SERVER)
        assert time.monotonic() - began < 30
        assert list(os_vif.plugged_vifs()) == [SERVER["server_uuid"]]
    finally:
        os_vif.switch.call("tests.fakes.private_ovs:run", "kill", "-CONT", pid)
    os_vif.check()
    os_vif.unplug(VIF, **SERVER)
    assert not os_vif.plugged(VIF)


def test_the_guest_uses_the_tap_that_was_made(driver):
    """The definition names the plugged device."""
    nic = driver.nic(VIF, model="virtio", queues=None)
    assert (nic.plug, nic.target, nic.mac) == ("tap", VIF.devname, VIF.mac)
    assert (nic.mtu, nic.model, nic.queues) == (1442, "virtio", None)


@pytest.mark.parametrize(
    "vif", [replace(VIF, vif_type="martian"), replace(VIF, vnic_type="direct")]
)
def test_what_is_not_supported_is_refused_by_name(driver, vif):
    """Neither plugged nor defined, and the port is named."""
    assert not driver.supports(vif)
    with pytest.raises(VifTypeUnsupported, match=PORT):
        driver.plug(vif, **SERVER)
    with pytest.raises(VifTypeUnsupported, match=PORT):
        driver.nic(vif, model=None, queues=None)


@pytest.mark.parametrize("vif_type", ["", "unbound", "binding_failed"])
def test_a_port_that_was_never_bound_has_nothing_to_unplug(driver, vif_type):
    """Deleting such a server succeeds."""
    driver.unplug(replace(VIF, vif_type=vif_type), **SERVER)


def test_open_vswitch_and_the_kernel_know_the_port(os_vif):
    """The ids by which Neutron's agents find the port, the MAC and the MTU."""
    os_vif.plug(VIF, **SERVER)
    try:
        ids = interface(os_vif, VIF.devname)
        assert f'iface-id="{PORT}"' in ids and f'attached-mac="{VIF.mac}"' in ids
        assert f'vm-uuid="{SERVER["server_uuid"]}"' in ids and "iface-status=active" in ids
        device = link(os_vif, VIF.devname)
        assert (device["address"], device["mtu"]) == (VIF.mac, 1442)
        assert "UP" in device["flags"]
        assert not device["linkinfo"]["info_data"]["multi_queue"]
    finally:
        os_vif.unplug(VIF, **SERVER)


def test_a_tap_for_several_queues(os_vif):
    """A guest with several queues can open its tap only if it was made for that."""
    vif = replace(VIF, queues=2)
    os_vif.plug(vif, **SERVER)
    try:
        assert link(os_vif, VIF.devname)["linkinfo"]["info_data"]["multi_queue"]
    finally:
        os_vif.unplug(vif, **SERVER)


def test_a_tap_that_somebody_removed_is_made_again(os_vif):
    """After a reboot of the host Open vSwitch still knows the port, but the tap is gone."""
    os_vif.plug(VIF, **SERVER)
    os_vif.switch.call("tests.fakes.private_ovs:run", "ip", "link", "del", VIF.devname)
    assert not os_vif.plugged(VIF)
    os_vif.plug(VIF, **SERVER)
    assert os_vif.plugged(VIF)
    os_vif.unplug(VIF, **SERVER)


def test_without_create_tap_the_port_waits_for_libvirts_tap(os_vif):
    """Neutron before 2026.2: the port is there, libvirt makes the device."""
    vif = replace(VIF, details={"datapath_type": "netdev"})
    os_vif.plug(vif, **SERVER)
    try:
        assert os_vif.plugged(vif)
        assert f'iface-id="{PORT}"' in interface(os_vif, VIF.devname)
        assert os_vif.nic(vif, model=None, queues=None).plug == "ethernet"
    finally:
        os_vif.unplug(vif, **SERVER)
    assert not os_vif.plugged(vif)


def test_a_hybrid_port_hangs_on_a_bridge_of_its_own(os_vif):
    """Where iptables filters: Linux bridge, veth pair, Open vSwitch."""
    vif = replace(VIF, details={"ovs_hybrid_plug": True, "datapath_type": "netdev"})
    os_vif.plug(vif, **SERVER)
    try:
        assert os_vif.plugged(vif)
        assert link(os_vif, "qbr0725fe29-8b")["linkinfo"]["info_kind"] == "bridge"
        nic = os_vif.nic(vif, model=None, queues=None)
        assert (nic.plug, nic.bridge, nic.target) == ("bridge", "qbr0725fe29-8b", VIF.devname)
        ((found,),) = os_vif.plugged_vifs().values()
        os_vif.unplug(found, **SERVER)  # what the switch knows of it is enough
        assert not os_vif.plugged(vif)
        names = os_vif.switch.call("tests.fakes.private_ovs:run", "ls", "/sys/class/net")
        assert "0725fe29" not in names
    finally:
        os_vif.unplug(vif, **SERVER)
    assert not os_vif.plugged(vif)
