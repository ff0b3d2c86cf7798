"""What every VIF driver keeps: the fakes, and all kinds of ports beside a real Open vSwitch."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace

import pytest

from nova_lite.errors import SwitchUnavailable, VifPlugError, VifTypeUnsupported
from tests.fakes import private_ovs
from tests.fakes.cloud import TapVifs
from tests.fakes.ports import (
    BRIDGE,
    DPDK,
    HYBRID,
    MACVTAP,
    OVN_BEFORE_2026_2,
    PORT,
    SERVER,
    SOCKET,
    TAP,
    VIF,
)
from tests.fakes.private_ovs import PrivateOvs
from tests.fakes.vif import FakeVifDriver
from tests.fakes.vif_worker import RemoteVifs


@pytest.fixture(scope="module")
def vifs(tmp_path_factory):
    reason = private_ovs.usable()
    if reason:
        pytest.skip(f"no private Open vSwitch: {reason}")
    folder = tmp_path_factory.mktemp("ovs")
    switch = PrivateOvs(folder)
    yield RemoteVifs(switch, folder)
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


@pytest.fixture(params=["fake", "taps", "vifs"])
def driver(request):
    chosen = FakeVifDriver() if request.param == "fake" else request.getfixturevalue(request.param)
    yield chosen
    chosen.unplug(VIF, **SERVER)


def interface(vifs, name, column="external_ids"):
    """A column of Open vSwitch's Interface record as JSON-like text."""
    return vifs.switch.call(
        "tests.fakes.private_ovs:vsctl", str(vifs.folder), "get", "Interface", name, column
    )


def link(vifs, name):
    return json.loads(
        vifs.switch.call("tests.fakes.private_ovs:run", "ip", "-j", "-d", "link", "show", name)
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


@pytest.mark.parametrize("kind", ["fake", "vifs"])
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


def test_a_switch_that_hangs_is_found_out_in_seconds(vifs):
    """os-vif would wait for two minutes, and then log that all is well."""
    pid = (vifs.folder / "vs.pid").read_text().strip()
    vifs.plug(VIF, **SERVER)
    vifs.switch.call("tests.fakes.private_ovs:run", "kill", "-STOP", pid)
    try:
        began = time.monotonic()
        with pytest.raises(SwitchUnavailable, match="ovs-vswitchd does not answer"):
            vifs.check()
        with pytest.raises(SwitchUnavailable, match=PORT):
            vifs.unplug(VIF, **SERVER)
        assert time.monotonic() - began < 30
        assert list(vifs.plugged_vifs()) == [SERVER["server_uuid"]]
    finally:
        vifs.switch.call("tests.fakes.private_ovs:run", "kill", "-CONT", pid)
    vifs.check()
    vifs.unplug(VIF, **SERVER)
    assert not vifs.plugged(VIF)


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


def test_open_vswitch_and_the_kernel_know_the_port(vifs):
    """The ids by which Neutron's agents find the port, the MAC and the MTU."""
    vifs.plug(VIF, **SERVER)
    try:
        ids = interface(vifs, VIF.devname)
        assert f'iface-id="{PORT}"' in ids and f'attached-mac="{VIF.mac}"' in ids
        assert f'vm-uuid="{SERVER["server_uuid"]}"' in ids and "iface-status=active" in ids
        device = link(vifs, VIF.devname)
        assert (device["address"], device["mtu"]) == (VIF.mac, 1442)
        assert "UP" in device["flags"]
        assert not device["linkinfo"]["info_data"]["multi_queue"]
    finally:
        vifs.unplug(VIF, **SERVER)


def test_a_tap_for_several_queues(vifs):
    """A guest with several queues can open its tap only if it was made for that."""
    vif = replace(VIF, queues=2)
    vifs.plug(vif, **SERVER)
    try:
        assert link(vifs, VIF.devname)["linkinfo"]["info_data"]["multi_queue"]
    finally:
        vifs.unplug(vif, **SERVER)


def test_a_tap_that_somebody_removed_is_made_again(vifs):
    """After a reboot of the host Open vSwitch still knows the port, but the tap is gone."""
    vifs.plug(VIF, **SERVER)
    vifs.switch.call("tests.fakes.private_ovs:run", "ip", "link", "del", VIF.devname)
    assert not vifs.plugged(VIF)
    vifs.plug(VIF, **SERVER)
    assert vifs.plugged(VIF)
    vifs.unplug(VIF, **SERVER)


def test_without_create_tap_the_port_waits_for_libvirts_tap(vifs):
    """Neutron before 2026.2: the port is there, libvirt makes the device."""
    vif = OVN_BEFORE_2026_2
    vifs.plug(vif, **SERVER)
    try:
        assert vifs.plugged(vif)
        assert f'iface-id="{PORT}"' in interface(vifs, VIF.devname)
        assert vifs.nic(vif, model=None, queues=None).plug == "ethernet"
    finally:
        vifs.unplug(vif, **SERVER)
    assert not vifs.plugged(vif)


def test_a_hybrid_port_hangs_on_a_bridge_of_its_own(vifs):
    """Where iptables filters: Linux bridge, veth pair, Open vSwitch."""
    vif = HYBRID
    vifs.plug(vif, **SERVER)
    try:
        assert vifs.plugged(vif)
        assert link(vifs, "qbr0725fe29-8b")["linkinfo"]["info_kind"] == "bridge"
        nic = vifs.nic(vif, model=None, queues=None)
        assert (nic.plug, nic.bridge, nic.target) == ("bridge", "qbr0725fe29-8b", VIF.devname)
        ((found,),) = vifs.plugged_vifs().values()
        vifs.unplug(found, **SERVER)  # what the switch knows of it is enough
        assert not vifs.plugged(vif)
        assert "0725fe29" not in "".join(names(vifs))
    finally:
        vifs.unplug(vif, **SERVER)
    assert not vifs.plugged(vif)


def test_a_hybrid_port_that_is_half_made_is_completed(vifs):
    """The agent was killed when the pair was made, and the switch did not know of it."""
    pair = ("qvb0725fe29-8b", "type", "veth", "peer", "name", "qvo0725fe29-8b")
    vifs.switch.call("tests.fakes.private_ovs:run", "ip", "link", "add", *pair)
    vifs.plug(HYBRID, **SERVER)
    try:
        assert vifs.plugged(HYBRID)
        assert link(vifs, "qvb0725fe29-8b")["master"] == "qbr0725fe29-8b"
    finally:
        vifs.unplug(HYBRID, **SERVER)


def names(vifs):
    return vifs.switch.call("tests.fakes.private_ovs:run", "ls", "/sys/class/net").split()


def test_a_tap_made_for_one_queue_gives_way_to_one_for_several(vifs):
    """The image was replaced: the guest could not open what was made for the old one."""
    vifs.plug(VIF, **SERVER)
    vifs.plug(replace(VIF, queues=2), **SERVER)
    try:
        assert link(vifs, VIF.devname)["linkinfo"]["info_data"]["multi_queue"]
        assert vifs.plugged(VIF)
    finally:
        vifs.unplug(VIF, **SERVER)


def test_a_vhost_user_port_is_in_the_switch(vifs):
    """Its type and socket; this Open vSwitch has no DPDK to serve it with."""
    for _ in range(2):
        vifs.plug(DPDK, **SERVER)
        assert vifs.plugged(DPDK)
    try:
        assert interface(vifs, "vhu0725fe29-8b", "type") == "dpdkvhostuserclient"
        options = interface(vifs, "vhu0725fe29-8b", "options")
        assert 'vhost-server-path="/run/vhu/s"' in options
        ((found,),) = vifs.plugged_vifs().values()
        assert (found.id, found.vif_type) == (PORT, "vhostuser")
        vifs.unplug(found, **SERVER)
        assert not vifs.plugged(DPDK)
    finally:
        vifs.unplug(DPDK, **SERVER)
    assert vifs.plugged_vifs() == {}


@pytest.mark.parametrize("queues", [None, 2])
def test_a_routed_tap_comes_and_goes(vifs, queues):
    """With address and MTU; whoever was killed in between does it again."""
    vif = replace(TAP, queues=queues)
    assert not vifs.plugged(vif)
    for _ in range(2):
        vifs.plug(vif, **SERVER)
    device = link(vifs, vif.devname)
    assert (device["address"], device["mtu"]) == ("00:61:fe:ed:ca:fe", 1442)
    assert "UP" in device["flags"]
    assert device["linkinfo"]["info_data"]["multi_queue"] is bool(queues)
    for _ in range(2):
        vifs.unplug(vif, **SERVER)
        assert not vifs.plugged(vif)


def test_a_tap_that_is_half_made_is_completed(vifs):
    """The agent was killed between making and setting it."""
    make = ("ip", "tuntap", "add", TAP.devname, "mode", "tap")
    vifs.switch.call("tests.fakes.private_ovs:run", *make)
    vifs.plug(TAP, **SERVER)
    try:
        device = link(vifs, TAP.devname)
        assert (device["address"], device["mtu"]) == ("00:61:fe:ed:ca:fe", 1442)
        assert "UP" in device["flags"]
    finally:
        vifs.unplug(TAP, **SERVER)


def test_a_bridge_stays_for_the_others(vifs):
    """It is made once, forwards, and has no address of its own."""
    bridge = BRIDGE.network.bridge
    for _ in range(2):
        vifs.plug(BRIDGE, **SERVER)
    try:
        device = link(vifs, bridge)
        assert device["linkinfo"]["info_kind"] == "bridge" and "UP" in device["flags"]
        assert device["linkinfo"]["info_data"]["stp_state"] == 0
        assert device["inet6_addr_gen_mode"] == "none"
        for _ in range(2):
            vifs.unplug(BRIDGE, **SERVER)
        assert vifs.plugged(BRIDGE)
    finally:
        vifs.switch.call("tests.fakes.private_ovs:run", "ip", "link", "del", bridge)


def test_macvtap_needs_its_interface(vifs):
    """Nothing is made on it before the guest starts."""
    with pytest.raises(VifPlugError, match=f"{PORT}.*no interface eth1"):
        vifs.plug(MACVTAP, **SERVER)
    run = "tests.fakes.private_ovs:run"
    vifs.switch.call(run, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    try:
        before = names(vifs)
        vifs.plug(MACVTAP, **SERVER)
        vifs.unplug(MACVTAP, **SERVER)
        assert names(vifs) == before
    finally:
        vifs.switch.call(run, "ip", "link", "del", "eth1")


def test_ip_says_what_is_wrong(vifs):
    """A VLAN on an interface that the host does not have."""
    details = {**MACVTAP.details, "macvtap_source": "eth9.5", "vlan": "5"}
    with pytest.raises(VifPlugError, match=f"make VLAN 5 on eth1 for port {PORT}.*eth1"):
        vifs.plug(replace(MACVTAP, details=details), **SERVER)


def test_a_socket_of_another_switch_needs_nothing(vifs):
    """It may come after the guest, and go before."""
    before = names(vifs)
    vifs.plug(SOCKET, **SERVER)
    assert vifs.plugged(SOCKET)
    vifs.unplug(SOCKET, **SERVER)
    assert names(vifs) == before
