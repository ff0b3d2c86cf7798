"""The guest's side of ports of every kind is what nova-compute 2026.2 gives to it.

A guest that changes hands must find the same card: what nova-compute writes is recorded in
tests/data/guest_interfaces.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.libvirt.xml_nics import add_nic
from nova_lite.drivers.vif import pci
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.guest import devices
from nova_lite.guest.properties import Properties
from tests.fakes.entry_points import declared
from tests.fakes.ports import SLOT, VIF
from tests.fakes.servers import KVM, QEMU, a_server
from tests.fakes.sriov import a_card

RECORDED = json.loads(
    (Path(__file__).parents[3] / "data" / "guest_interfaces" / "nova_34.json").read_text()
)
OPTIONS = {"use_virtio_for_bridges": "virtio_nics"}  # [libvirt] option -> field of HostPolicy


def is_different(port: str, specs: str) -> str | None:
    """Why this agent writes something else on purpose; None where it does not."""
    hardware = port.startswith("hw_veb_direct") or port == "ovs_direct"
    if hardware and specs == "packed":
        return "a ring in the guest's memory is not for a card that QEMU does not emulate"
    return None


@pytest.fixture(autouse=True)
def card(tmp_path, monkeypatch):
    monkeypatch.setattr(pci, "DEVICES", a_card(tmp_path, SLOT, vdpa=3))


def port(name):
    said = dict(RECORDED["ports"][name])
    network = replace(VIF.network, bridge=said.pop("bridge"))
    return replace(VIF, network=network, **said)


def policy(name):
    options = {OPTIONS.get(key, key): value for key, value in RECORDED["hosts"][name].items()}
    return replace(KVM if name.startswith("kvm") else QEMU, **options)


def written(name, host, specs, image):
    """The element that this agent writes for the port."""
    server = a_server(
        RECORDED["images"][image], RECORDED["extra_specs"][specs], flavor={"vcpus": 4}
    )
    nic = VifDrivers(None, declared("nova_lite.vif")).nic(
        port(name),
        model=devices.nic_model(server, policy(host)),
        queues=devices.nic_queues(server, policy(host)),
    )
    nic = devices.finish_nic(nic, Properties(server), policy(host))
    found = ET.Element("devices")
    add_nic(found, nic)
    return found[0]


def plain(element):
    """An element as data, without the order that libvirt does not look at."""
    return (element.tag, dict(element.attrib), sorted(map(plain, element), key=repr))


@pytest.mark.parametrize(
    ("name", "host", "specs", "image", "xml"),
    RECORDED["guests"],
    ids=[" ".join(case[:4]).replace(" plain", "") for case in RECORDED["guests"]],
)
def test_the_guest_gets_what_nova_compute_gives_to_it(name, host, specs, image, xml):
    """Model, back end, queues, sizes, MTU, limits, addresses, VLAN, socket, modes."""
    mine, theirs = plain(written(name, host, specs, image)), plain(ET.fromstring(xml))

    assert (mine != theirs) is bool(is_different(name, specs))


def test_every_kind_is_recorded():
    """But the Linux bridge, which nova-compute 2026.2 has no more; a hybrid port is the same."""
    drivers = VifDrivers(None, declared("nova_lite.vif"))
    for name in RECORDED["ports"]:
        drivers.require(port(name))

    assert len(drivers._in_use()) == len(drivers.kinds) - 1
