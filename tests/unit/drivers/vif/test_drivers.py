"""Which driver a port gets, what is said where there is none, and what is loaded when."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nova_lite.drivers.vif import drivers as drivers_module
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.errors import InvalidConfiguration, PortBindingFailed, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from tests.fakes import ports
from tests.fakes.entry_points import declared
from tests.fakes.ports import PORT, SERVER, VIF

ROOT = Path(__file__).parents[4]
NAMESPACE = "nova_lite.vif"
OWN = declared(NAMESPACE)


class ThirdPartyVifs(VifDriver):
    """A driver of somebody else, whose switch keeps whose ports it has."""

    uses_switch = True

    def __init__(self, conf):
        self.conf, self.known = conf, {}

    def require(self, vif):
        if not vif.details.get("segment"):
            raise VifTypeUnsupported(f"port {vif.id} has no segment")

    def plug(self, vif, *, server_uuid, server_name, project_id):
        self.known.setdefault(server_uuid, []).append(vif)

    def unplug(self, vif, *, server_uuid, server_name, project_id):
        self.known.clear()

    def plugged(self, vif):
        return bool(self.known)

    def plugged_vifs(self, server_uuid=None):
        return self.known

    def nic(self, vif, *, model, queues):
        return NicSpec(vif.mac, "ethernet", target=vif.devname, model=model)


def point(name, value=f"{__name__}:ThirdPartyVifs"):
    return EntryPoint(name, value, NAMESPACE)


@pytest.fixture
def third_party(monkeypatch):
    monkeypatch.setitem(sys.modules, "example_vifs", sys.modules[__name__])
    return point("martian", "example_vifs:ThirdPartyVifs")


MARTIAN = replace(VIF, vif_type="martian", details={"segment": 5})


KINDS = {
    "VIF": "OvsVifs",
    "OVN_BEFORE_2026_2": "OvsVifs",
    "HYBRID": "OvsVifs",
    "BRIDGE": "BridgeVifs",
    "TAP": "TapVifs",
    "MACVTAP": "MacvtapVifs",
    "SOCKET": "VhostUserVifs",
    "DPDK": "VhostUserVifs",
    "DIRECT": "DirectVifs",
    "MACVTAP_FUNCTION": "MacvtapFunctionVifs",
    "PHYSICAL": "PhysicalVifs",
    "OFFLOADED": "OffloadedVifs",
    "VDPA": "VdpaVifs",
}


@pytest.mark.parametrize(("port", "driver"), KINDS.items())
def test_each_kind_has_its_driver(port, driver):
    """By vif_type, and by vnic_type where the port is a piece of hardware."""
    drivers = VifDrivers(None, OWN)
    vif = getattr(ports, port)

    assert drivers.supports(vif)
    assert [type(found).__name__ for found in drivers._in_use()] == [driver]


def test_no_driver_is_left_without_a_port():
    """Every entry point of setup.cfg is one of the kinds above."""
    drivers = VifDrivers(None, OWN)
    for port in KINDS:
        drivers.require(getattr(ports, port))

    assert len(drivers._in_use()) == len(OWN)


@pytest.mark.parametrize("verb", ["require", "plug", "unplug", "nic", "plugged"])
def test_an_unknown_kind_is_refused_with_all_that_helps(verb):
    """The port, its kind, who in Neutron has bound it, and what there are drivers for."""
    vif = replace(VIF, vif_type="martian", details={"bound_drivers": {"1": "red", "0": "mars"}})
    more = SERVER if verb in ("plug", "unplug") else {}
    more = {"model": None, "queues": None} if verb == "nic" else more

    with pytest.raises(VifTypeUnsupported) as caught:
        getattr(VifDrivers(None, OWN), verb)(vif, **more)

    said = caught.value.message
    assert f"port {PORT}: vif_type 'martian' with vnic_type 'normal'" in said
    assert "mechanism driver mars, red," in said
    assert "bridge, hostdev_physical.direct-physical, hw_veb.direct" in said
    assert "(entry points nova_lite.vif)" in said


def test_hardware_of_an_unknown_kind_is_no_ordinary_port():
    """ovs is supported, ovs with a smart NIC is not."""
    drivers = VifDrivers(None, OWN)
    vif = replace(VIF, vnic_type="smart-nic")

    assert not drivers.supports(vif)
    assert not drivers.needs_switch(vif)


def test_a_port_that_could_not_be_bound_leads_to_neutrons_agent():
    """The fault of nova-compute, with what to look at."""
    drivers = VifDrivers(None, OWN)
    vif = replace(VIF, vif_type="binding_failed")

    with pytest.raises(PortBindingFailed, match=f"port {PORT}.*network agent list --host"):
        drivers.plug(vif, **SERVER)
    assert not drivers.supports(vif)
    drivers.unplug(vif, **SERVER)


@pytest.mark.parametrize("vif_type", ["", "unbound"])
def test_an_unbound_port_is_said_to_be_so(vif_type):
    """It cannot be plugged, and there is nothing to unplug."""
    drivers = VifDrivers(None, OWN)
    vif = replace(VIF, vif_type=vif_type)

    with pytest.raises(VifTypeUnsupported, match=f"port {PORT} is bound to no host"):
        drivers.nic(vif, model=None, queues=None)
    drivers.unplug(vif, **SERVER)


def test_somebody_elses_driver_is_found_by_its_name(third_party):
    """It gets the options, its refusals count, and it answers for the host once it is in use."""
    drivers = VifDrivers("options", [*OWN, third_party])
    assert not drivers.uses_switch

    drivers.plug(MARTIAN, **SERVER)

    assert drivers.nic(MARTIAN, model="virtio", queues=None).plug == "ethernet"
    assert drivers.load("martian").conf == "options"
    assert drivers.uses_switch
    with pytest.raises(VifTypeUnsupported, match="no segment"):
        drivers.plug(replace(MARTIAN, details={}), **SERVER)
    assert not drivers.supports(replace(MARTIAN, details={}))


def test_the_host_tells_of_all_switches(third_party):
    """Open vSwitch is not asked here: it is not installed."""
    drivers = VifDrivers(None, [third_party])
    drivers.plug(MARTIAN, **SERVER)

    drivers.check()
    assert drivers.plugged_vifs() == {SERVER["server_uuid"]: [MARTIAN]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nova_lite_of_mars.vif:Vifs", "ModuleNotFoundError: No module named 'nova_lite_of_mars'"),
        ("nova_lite.drivers.vif.ovs:Nothing", "AttributeError"),
    ],
)
def test_a_driver_that_does_not_load_is_named_with_the_reason(value, reason, caplog):
    """To the user of the server and in the log; ports of other kinds do not suffer."""
    drivers = VifDrivers(None, [*OWN, point("martian", value)])
    with caplog.at_level(logging.ERROR), pytest.raises(VifTypeUnsupported) as caught:
        drivers.plug(MARTIAN, **SERVER)

    for said in (caught.value.message, caplog.text):
        assert f"martian = {value} (entry points nova_lite.vif)" in said
        assert reason in said
    assert caught.value.message.startswith(f"port {PORT}: ")
    assert drivers.supports(VIF)


def test_two_drivers_for_a_kind_are_refused_at_the_start(third_party):
    """Which one would serve the port must not depend on the order of directories."""
    with pytest.raises(InvalidConfiguration, match=r"two VIF drivers for ovs: ovs = .*:OvsVifs"):
        VifDrivers(None, [*OWN, point("ovs", third_party.value)])


def test_the_same_driver_twice_is_one():
    """A package that is found in two places."""
    assert VifDrivers(None, [*OWN, *OWN]).kinds == sorted(entry.name for entry in OWN)


def test_nothing_heavy_is_loaded_before_the_first_port(tmp_path):
    """An idle host asks its switch, and pays for no library."""
    code = f"""
import pathlib, sys
from nova_lite.errors import SwitchUnavailable
from tests.fakes.conf_file import read_conf
from tests.fakes.entry_points import declared
from nova_lite.drivers.vif.drivers import VifDrivers
groups = {{"os_vif_ovs": {{"ovsdb_connection": "unix:{tmp_path}/no"}}}}
drivers = VifDrivers(read_conf(pathlib.Path({str(tmp_path)!r}), groups), declared("nova_lite.vif"))
print(sorted(name for name in sys.modules if name.startswith("nova_lite.drivers.vif.")))
try:
    drivers.check()
except SwitchUnavailable:
    print("asked")
print(sorted({{name.partition('.')[0] for name in sys.modules}}
             & {{'os_vif', 'pyroute2', 'ovs', 'oslo_privsep'}}))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60).stdout
    assert printed.splitlines() == [
        "['nova_lite.drivers.vif.base', 'nova_lite.drivers.vif.drivers']", "asked", "[]"
    ]  # fmt: skip


def test_what_other_packages_add_is_loaded_at_the_start(third_party, caplog):
    """An error is in the log before a port needs the driver; our own wait."""
    drivers = VifDrivers(None, [*OWN, third_party, point("venusian", "nowhere:Vifs")])
    with caplog.at_level(logging.ERROR):
        drivers.load_added()

    assert [type(driver).__name__ for driver in drivers._in_use()] == ["ThirdPartyVifs"]
    assert "venusian = nowhere:Vifs (entry points nova_lite.vif)" in caplog.text
    assert "No module named 'nowhere'" in caplog.text


def test_the_agent_takes_what_is_installed(monkeypatch):
    """With the entry points of an older version nothing could be plugged: it does not start."""
    monkeypatch.setattr(drivers_module, "installed", lambda: tuple(OWN))
    assert VifDrivers(None).kinds == sorted(entry.name for entry in OWN)

    monkeypatch.setattr(drivers_module, "installed", lambda: (point("os_vif"),))
    with pytest.raises(InvalidConfiguration, match=r"no VIF driver ovs .*: os_vif\): .* again"):
        VifDrivers(None)


def test_a_package_is_named_with_its_driver():
    """The error is of use only to who knows what to remove."""
    found = metadata.entry_points(group="console_scripts")
    entry = next(entry for entry in found if entry.dist is not None)

    assert f"of package {entry.dist.name})" in drivers_module._named(entry)
