"""OsVifDriver without a switch: what os-vif is told, what the guest is told, what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from os_vif import objects as os_vif_objects

from nova_lite.drivers.vif import os_vif as os_vif_driver
from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.os_vif import OsVifDriver
from nova_lite.errors import VifPlugError, VifTypeUnsupported
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from tests.fakes.conf_file import read_conf

ROOT = Path(__file__).parents[4]
PORT = "0725fe29-8b78-4274-82e5-3b20fc53d2c9"
SERVER = {
    "server_uuid": "344a9120-b410-41e7-af51-fddb339207ce",
    "server_name": "instance-00000001",
    "project_id": "p",
}
VIF = Vif(
    id=PORT,
    mac="fa:16:3e:ce:a2:fc",
    network=Network(
        id="c0404ec7-bfbe-4160-833b-831d9f414eb1",
        label="net",
        bridge="br-int",
        mtu=1442,
        subnets=(
            Subnet(
                "10.0.0.0/24",
                4,
                "10.0.0.1",
                ("10.0.0.2",),
                (FixedIp("10.0.0.5", 4, ("172.24.4.9",)),),
                ({"cidr": "10.1.0.0/16", "gateway": "10.0.0.3"},),
            ),
        ),
    ),
    vif_type="ovs",
    details={"ovs_create_tap": True, "datapath_type": "netdev", "port_filter": True},
    devname="tap0725fe29-8b",
    ovs_interfaceid=PORT,
)
SOCKET = {"vhostuser_socket": "/run/vhu", "vhostuser_mode": "server", "vhostuser_ovs_plug": True}


@pytest.fixture(scope="module", autouse=True)
def registered():
    os_vif_objects.register_all()


def driver(conf=None):
    return OsVifDriver(conf)


def nic(vif, **arguments):
    return driver().nic(vif, **{"model": "virtio", "queues": None, **arguments})


def run_python(code):
    """What the code prints in a process of its own, where os-vif is not loaded yet."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60).stdout


def test_an_ovs_port_with_its_tap():
    """The port is made before the guest, its tap too; all of the network is told."""
    found = objects.to_os_vif(VIF)
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
    assert nic(VIF).plug == "tap"


def test_several_queues_need_a_tap_made_for_them():
    """The port's queues reach os-vif."""
    assert objects.to_os_vif(replace(VIF, queues=4)).port_profile.multiqueue is True


def test_an_ovs_port_whose_tap_libvirt_makes():
    """Neutron without ovs_create_tap: the port only."""
    vif = replace(VIF, details={})
    profile = objects.to_os_vif(vif).port_profile
    assert profile.create_port is True and "create_tap" not in profile
    found = nic(vif, queues=2)
    assert (found.plug, found.target, found.queues) == ("ethernet", VIF.devname, 2)


def test_a_hybrid_port():
    """A Linux bridge stands between guest and switch."""
    vif = replace(VIF, details={"ovs_hybrid_plug": True})
    found = objects.to_os_vif(vif)
    assert (type(found).__name__, found.plugin) == ("VIFBridge", "ovs")
    assert found.bridge_name == "qbr0725fe29-8b" == nic(vif).bridge
    assert objects.ovs_port_of(vif) == "qvo0725fe29-8b"


def test_a_linux_bridge_port():
    """Neutron's old Linux bridge driver, where os-vif still has its plugin."""
    network = replace(VIF.network, bridge="brqc0404ec7-bf", meta={"should_create_bridge": True})
    vif = replace(VIF, vif_type="bridge", details={}, network=network)
    found = objects.to_os_vif(vif)
    assert (found.plugin, found.bridge_name) == ("linux_bridge", "brqc0404ec7-bf")
    assert found.network.should_provide_bridge is True
    assert (nic(vif).plug, nic(vif).bridge) == ("bridge", "brqc0404ec7-bf")


@pytest.mark.parametrize(("on_ovs", "plugin"), [(True, "ovs"), (False, "noop")])
def test_a_vhost_user_port(on_ovs, plugin):
    """The guest gets the socket; the switch port only where Neutron says so."""
    vif = replace(VIF, vif_type="vhostuser", details={**SOCKET, "vhostuser_ovs_plug": on_ovs})
    found = objects.to_os_vif(vif)
    assert (found.plugin, found.path, found.mode) == (plugin, "/run/vhu", "server")
    spec = nic(vif)
    assert (spec.plug, spec.source_path, spec.source_mode) == ("vhostuser", "/run/vhu", "server")


def test_a_vhost_user_port_without_socket_is_refused():
    """The message names the port and what is missing."""
    vif = replace(VIF, vif_type="vhostuser", details={})
    with pytest.raises(VifTypeUnsupported, match=f"{PORT}.*vhostuser_socket"):
        nic(vif)


def test_a_tap_port_is_left_to_libvirt():
    """A routed network's agent finds the tap that libvirt makes; nothing is plugged before."""
    vif = replace(VIF, vif_type="tap", details={})
    found = driver()
    found.plug(vif, **SERVER)
    found.unplug(vif, **SERVER)
    assert found.plugged(vif)
    assert nic(vif).plug == "ethernet"


@pytest.mark.parametrize("vif", [replace(VIF, vif_type="hw_veb"), replace(VIF, vnic_type="direct")])
def test_hardware_is_refused(vif):
    """Interfaces that are pieces of hardware are not plugged."""
    with pytest.raises(VifTypeUnsupported, match=PORT):
        driver().plug(vif, **SERVER)
    with pytest.raises(VifTypeUnsupported, match=PORT):
        objects.to_os_vif(vif)


def test_a_switch_that_does_not_answer_is_reported_with_the_port(tmp_path):
    """[os_vif_ovs] is read from our configuration files; the error names port and cause."""
    groups = {"os_vif_ovs": {"ovsdb_connection": f"unix:{tmp_path}/no", "ovs_vsctl_timeout": "1"}}
    code = f"""
import dataclasses, pathlib, sys
from nova_lite.errors import VifPlugError
from tests.fakes.conf_file import read_conf
from tests.unit.drivers.vif import test_os_vif as this
found = this.driver(read_conf(pathlib.Path({str(tmp_path)!r}), {groups!r}))
for call in (lambda: found.plug(this.VIF, **this.SERVER),
             lambda: found.plugged(dataclasses.replace(this.VIF, details={{}}))):
    try:
        call()
    except VifPlugError as exc:
        print(exc)
"""
    printed = run_python(code)
    assert printed.count(PORT) == 2 and "/no" in printed, printed


def test_a_slow_switch_s_user_is_spared_the_commands():
    """The fault names the port and the timeout, not the rows of somebody's database."""
    said = "Commands [AddPortCommand(_result=None, port=tap1), DbSetCommand(a=[1])] exceeded " \
        "timeout 120 seconds, cause: Result queue is empty"  # fmt: skip
    assert os_vif_driver._said(RuntimeError(said)) == (
        "the request to Open vSwitch exceeded timeout 120 seconds, cause: Result queue is empty"
    )


def test_a_missing_plugin_is_reported_with_the_port(tmp_path):
    """os-vif of today has no Linux bridge plugin any more."""
    found = driver(read_conf(tmp_path, {}))
    network = replace(VIF.network, bridge="brqx")
    with pytest.raises(VifPlugError, match=f"{PORT}.*linux_bridge"):
        found.plug(replace(VIF, vif_type="bridge", details={}, network=network), **SERVER)


def test_os_vif_is_loaded_at_the_first_port_only():
    """A host without servers does not pay for it."""
    code = (
        "import sys; from nova_lite.drivers.vif.os_vif import OsVifDriver; OsVifDriver(None); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'os_vif', 'pyroute2', 'ovs', 'oslo_privsep'}))"
    )
    printed = run_python(code)
    assert printed.strip() == "[]"
