"""What each kind does on the host, without a switch and without hardware."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.drivers.vif import links, pci
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.errors import VifPlugError, VifTypeUnsupported
from tests.fakes import ports
from tests.fakes.entry_points import declared
from tests.fakes.ports import (
    BRIDGE,
    DIRECT,
    DPDK,
    MACVTAP,
    MACVTAP_FUNCTION,
    OFFLOADED,
    PHYSICAL,
    PORT,
    SERVER,
    SLOT,
    SOCKET,
    TAP,
    VDPA,
    VIF,
)
from tests.fakes.sriov import PF, VF, a_card


@pytest.fixture
def drivers():
    return VifDrivers(None, declared("nova_lite.vif"))


@pytest.fixture
def ran(monkeypatch):
    """The arguments of each ip(8) that was run."""
    found = []
    monkeypatch.setattr(links, "_ip", lambda what, *arguments: found.append(" ".join(arguments)))
    return found


@pytest.fixture
def net(tmp_path, monkeypatch):
    """/sys/class/net of a host without devices."""
    folder = tmp_path / "net"
    folder.mkdir()
    monkeypatch.setattr(links, "NET", folder)
    return folder


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setattr(pci, "DEVICES", a_card(tmp_path, SLOT, vdpa=3))
    return pci.DEVICES / SLOT


def nic(drivers, vif):
    return drivers.nic(vif, model="virtio", queues=None)


# --- taps, bridges, macvtap -------------------------------------------------------------------
def test_a_routed_tap_has_the_hosts_own_address(drivers, ran, net):
    """Calico answers for the gateway with that MAC address; several queues are for the maker."""
    drivers.plug(replace(TAP, queues=2), **SERVER)

    assert ran == [
        f"tuntap add dev {TAP.devname} mode tap multi_queue",
        f"link set dev {TAP.devname} address 00:61:fe:ed:ca:fe mtu 1442 up",
    ]


def test_a_tap_is_removed_once(drivers, ran, net):
    """Nothing to remove is success."""
    drivers.unplug(TAP, **SERVER)
    assert ran == []

    (net / TAP.devname).mkdir()
    drivers.unplug(TAP, **SERVER)
    assert ran == [f"link delete dev {TAP.devname}"]


@pytest.mark.parametrize(("flags", "queues", "removed"), [
    ("0x1002", None, False), ("0x1002", 2, True), ("0x1102", 2, False), ("0x1102", None, True),
])  # fmt: skip
def test_a_tap_that_was_made_for_another_flavor_is_made_anew(ran, net, flags, queues, removed):
    """The kernel gives a tap of several queues to nobody who wants one, nor the other way."""
    (net / "tap1").mkdir()
    (net / "tap1" / "tun_flags").write_text(flags + "\n")

    links.remove_unless_usable("tap1", queues=queues)

    assert ran == (["link delete dev tap1"] if removed else [])


def test_a_bridge_is_made_where_neutron_says_so(drivers, ran, net):
    """It forwards at once, and stays when the port goes: others share it."""
    drivers.plug(BRIDGE, **SERVER)
    bridge = BRIDGE.network.bridge

    assert ran == [
        f"link add name {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        f"link set dev {bridge} addrgenmode none",
        f"link set dev {bridge} up",
    ]
    del ran[:]
    drivers.unplug(BRIDGE, **SERVER)
    assert ran == []


def test_a_bridge_that_others_make_must_be_there(drivers, ran, net):
    """Only who says so has it made."""
    vif = replace(BRIDGE, network=replace(BRIDGE.network, meta={}))
    with pytest.raises(VifPlugError, match=f"{PORT}: this host has no bridge brqc0404ec7-bf"):
        drivers.plug(vif, **SERVER)

    (net / "brqc0404ec7-bf").mkdir()
    drivers.plug(vif, **SERVER)
    assert ran == []


def test_a_guest_on_a_bridge(drivers):
    """libvirt makes the tap under its usual name."""
    spec = nic(drivers, BRIDGE)
    assert (spec.plug, spec.bridge, spec.target, spec.mtu) == (
        "bridge", "brqc0404ec7-bf", TAP.devname, 1442,
    )  # fmt: skip


def test_macvtap_on_a_vlan_makes_its_interface(drivers, ran, net):
    """On the physical one; it stays, for the network's other ports are on it, too."""
    details = {**MACVTAP.details, "macvtap_source": "eth1.100", "vlan": "100"}
    vif = replace(MACVTAP, details=details)

    drivers.plug(vif, **SERVER)
    drivers.unplug(vif, **SERVER)

    assert ran == [
        "link add link eth1 name eth1.100 type vlan id 100", "link set dev eth1.100 up",
    ]  # fmt: skip


def test_macvtap_without_a_vlan_needs_its_interface(drivers, ran, net):
    """The message leads to the mapping in Neutron's agent."""
    with pytest.raises(VifPlugError, match="no interface eth1; check physical_interface_mappings"):
        drivers.plug(MACVTAP, **SERVER)

    (net / "eth1").mkdir()
    drivers.plug(MACVTAP, **SERVER)
    assert drivers.plugged(MACVTAP)
    assert ran == []


@pytest.mark.parametrize(
    ("vif", "words"),
    [
        (replace(MACVTAP, details={"macvtap_mode": "bridge"}), "macvtap_source, physical_interf"),
        (replace(BRIDGE, network=replace(BRIDGE.network, bridge=None)), "names the Linux bridge"),
        (replace(SOCKET, details={}), "vhostuser_socket"),
        (replace(SOCKET, details={**SOCKET.details, "vhostuser_fp_plug": True}), "fp_plug"),
        (replace(DPDK, details={**DPDK.details, "vhostuser_fp_plug": True}), "fp_plug"),
        (replace(DIRECT, profile={}), "no pci_slot"),
        (replace(VDPA, profile={"pci_slot": "65:0a.1"}), "'65:0a.1'"),
        (replace(OFFLOADED, profile={"pci_slot": None}), "no pci_slot"),
    ],
)
@pytest.mark.parametrize("verb", ["plug", "nic"])
def test_a_binding_that_lacks_something_is_refused(drivers, ran, net, verb, vif, words):
    """Before anything is made; the port is named."""
    more = SERVER if verb == "plug" else {"model": None, "queues": None}
    with pytest.raises(VifTypeUnsupported, match=f"port {PORT}.*{words}"):
        getattr(drivers, verb)(vif, **more)
    assert not drivers.supports(vif)
    assert ran == []


# --- vhost-user -------------------------------------------------------------------------------
def test_a_socket_of_another_switch_is_its_own_affair(drivers):
    """os-vif is not even loaded: nothing is made and nothing removed."""
    drivers.plug(SOCKET, **SERVER)
    drivers.unplug(SOCKET, **SERVER)

    assert drivers.plugged(SOCKET)
    assert not drivers.needs_switch(SOCKET)
    assert drivers.needs_switch(DPDK)


# --- hardware ---------------------------------------------------------------------------------
def test_a_virtual_function_that_is_trusted(drivers, ran, card):
    """As long as the port has it."""
    vif = replace(DIRECT, profile={**DIRECT.profile, "trusted": "true"})

    drivers.plug(vif, **SERVER)
    drivers.unplug(vif, **SERVER)

    assert ran == [f"link set dev {PF} vf 3 trust on", f"link set dev {PF} vf 3 trust off"]


@pytest.mark.parametrize("vif", [DIRECT, PHYSICAL], ids=["direct", "physical"])
def test_a_card_is_libvirts_to_take(drivers, ran, card, vif):
    """Nothing is set up before."""
    drivers.plug(vif, **SERVER)
    drivers.unplug(vif, **SERVER)

    assert ran == []
    assert drivers.plugged(vif)


def test_a_function_behind_macvtap_gets_address_and_vlan(drivers, ran, card):
    """In the card, and on its interface; both are taken back."""
    drivers.plug(MACVTAP_FUNCTION, **SERVER)
    drivers.unplug(MACVTAP_FUNCTION, **SERVER)

    assert ran == [
        f"link set dev {PF} vf 3 mac {VIF.mac} vlan 1021",
        f"link set dev {VF} address {VIF.mac} up",
        f"link set dev {PF} vf 3 mac 00:00:00:00:00:00 vlan 0",
        f"link set dev {VF} address 00:00:00:00:00:00 down",
    ]


@pytest.mark.parametrize("name", ["DIRECT", "MACVTAP_FUNCTION", "PHYSICAL"])
def test_a_card_that_is_gone_has_nothing_to_unplug(drivers, ran, tmp_path, monkeypatch, name):
    """It was taken out, or its virtual functions are off."""
    monkeypatch.setattr(pci, "DEVICES", tmp_path)
    vif = getattr(ports, name)
    drivers.unplug(replace(vif, profile={**vif.profile, "trusted": "true"}), **SERVER)

    assert ran == []
    assert not drivers.plugged(vif)


def test_a_function_that_another_driver_has_is_named(drivers, card):
    """vfio-pci has taken it: there is no interface to hang macvtap on, and no vDPA."""
    (card / "net" / VF).rmdir()
    (card / "vdpa0" / "vhost-vdpa-3").rmdir()

    with pytest.raises(VifPlugError, match=f"{SLOT} has no network interface"):
        nic(drivers, MACVTAP_FUNCTION)
    with pytest.raises(VifPlugError, match=f"{SLOT} has no vhost-vdpa device"):
        nic(drivers, VDPA)
    with pytest.raises(VifPlugError, match="no virtual function"):
        pci.vf_number(SLOT[:-1] + "0")
