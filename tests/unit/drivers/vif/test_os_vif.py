"""What os-vif is told of a port, and what becomes of its errors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from os_vif import objects as os_vif_objects

from nova_lite.drivers.vif import os_vif as os_vif_driver
from nova_lite.drivers.vif.drivers import VifDrivers, kind_of
from tests.fakes.entry_points import declared
from tests.fakes.ports import DPDK, HYBRID, OFFLOADED, PORT, SLOT, VDPA, VIF

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module", autouse=True)
def registered():
    os_vif_objects.register_all()


def to_os_vif(vif):
    return VifDrivers(None, declared("nova_lite.vif")).load(kind_of(vif)).to_os_vif(vif)


def test_an_ovs_port_with_its_tap():
    """The port is made before the guest, its tap too; all of the network is told."""
    found = to_os_vif(VIF)
    assert (type(found).__name__, found.plugin, found.vif_name) == (
        "VIFOpenVSwitch", "ovs", VIF.devname,
    )  # fmt: skip
    profile = found.port_profile
    assert (profile.interface_id, profile.datapath_type) == (PORT, "netdev")
    assert (profile.create_port, profile.create_tap, profile.multiqueue) == (True, True, False)
    assert (found.bridge_name, found.network.bridge, found.network.mtu) == (
        "br-int", "br-int", 1442,
    )  # fmt: skip
    assert found.has_traffic_filtering is True
    subnet = found.network.subnets.objects[0]
    assert str(subnet.ips.objects[0].address) == "10.0.0.5"
    assert str(subnet.routes.objects[0].gateway) == "10.0.0.3"


def test_several_queues_need_a_tap_made_for_them():
    """The port's queues reach os-vif."""
    assert to_os_vif(replace(VIF, queues=4)).port_profile.multiqueue is True


def test_an_ovs_port_whose_tap_libvirt_makes():
    """Neutron without ovs_create_tap: the port only."""
    profile = to_os_vif(replace(VIF, details={})).port_profile
    assert profile.create_port is True and "create_tap" not in profile


def test_a_hybrid_port():
    """A Linux bridge stands between guest and switch."""
    found = to_os_vif(HYBRID)
    assert (type(found).__name__, found.plugin) == ("VIFBridge", "ovs")
    assert found.bridge_name == "qbr0725fe29-8b"
    assert "create_port" not in found.port_profile


@pytest.mark.parametrize("mode", ["server", "client"])
def test_a_vhost_user_port_of_open_vswitch(mode):
    """The name that the port gets, and which end QEMU is."""
    found = to_os_vif(replace(DPDK, details={**DPDK.details, "vhostuser_mode": mode}))
    assert (type(found).__name__, found.plugin) == ("VIFVHostUser", "ovs")
    assert (found.vif_name, found.path, found.mode) == ("vhu0725fe29-8b", "/run/vhu/s", mode)
    assert found.port_profile.datapath_type == "netdev"


@pytest.mark.parametrize("vif", [OFFLOADED, VDPA])
def test_a_virtual_function_that_the_switch_offloads(vif):
    """os-vif finds the representor by the PCI address."""
    found = to_os_vif(vif)
    assert (type(found).__name__, found.plugin, found.dev_type) == (
        "VIFHostDevice", "ovs", "ethernet",
    )  # fmt: skip
    assert found.dev_address == SLOT == found.port_profile.representor_address
    assert found.port_profile.interface_id == PORT
    assert found.network.bridge == "br-int"


def test_a_switch_that_does_not_answer_is_reported_with_the_port(tmp_path):
    """[os_vif_ovs] is read from our configuration files; the error names port and cause."""
    groups = {"os_vif_ovs": {"ovsdb_connection": f"unix:{tmp_path}/no", "ovs_vsctl_timeout": "1"}}
    code = f"""
import pathlib
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.errors import VifPlugError
from tests.fakes import ports
from tests.fakes.conf_file import read_conf
from tests.fakes.entry_points import declared
conf = read_conf(pathlib.Path({str(tmp_path)!r}), {groups!r})
found = VifDrivers(conf, declared("nova_lite.vif"))
for call in (lambda: found.plug(ports.VIF, **ports.SERVER),
             lambda: found.unplug(ports.DPDK, **ports.SERVER),
             lambda: found.plugged(ports.OVN_BEFORE_2026_2)):
    try:
        call()
    except VifPlugError as exc:
        print(exc)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60).stdout
    assert printed.count(PORT) == 3 and "/no" in printed, printed


def test_a_slow_switch_s_user_is_spared_the_commands():
    """The fault names the port and the timeout, not the rows of somebody's database."""
    said = "Commands [AddPortCommand(_result=None, port=tap1), DbSetCommand(a=[1])] exceeded " \
        "timeout 120 seconds, cause: Result queue is empty"  # fmt: skip
    assert os_vif_driver._said(RuntimeError(said)) == (
        "the request to Open vSwitch exceeded timeout 120 seconds, cause: Result queue is empty"
    )
