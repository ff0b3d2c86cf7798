"""The definition that a running guest gets on another host."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from nova_lite.drivers.hypervisor.libvirt.moved_xml import moved
from nova_lite.errors import HypervisorError
from nova_lite.model.domain import CpuTune, DiskSpec, NicSpec
from nova_lite.model.live_migration import GuestChanges
from nova_lite.model.volume import NetworkSource

VOLUME = "5ab7e4d2-0000-4000-8000-0000000000a1"
LUN = "5ab7e4d2-0000-4000-8000-0000000000a2"
MAC = "fa:16:3e:12:34:56"

# As libvirt 9.0.0 tells it of a guest of nova's, and two elements of nobody's.
LIVE = f"""
<domain type='kvm'>
  <name>instance-00000001</name>
  <uuid>c88932a8-a57d-4f75-909d-268b1cb7b265</uuid>
  <memory unit='KiB'>65536</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <vcpu placement='static' cpuset='0-3'>2</vcpu>
  <iothreads>1</iothreads>
  <cputune>
    <shares>2048</shares>
    <vcpupin vcpu='0' cpuset='2'/>
    <vcpupin vcpu='1' cpuset='3'/>
    <emulatorpin cpuset='2-3'/>
    <iothreadpin iothread='1' cpuset='2-3'/>
    <vcpusched vcpus='1' scheduler='fifo' priority='1'/>
  </cputune>
  <numatune>
    <memory mode='strict' nodeset='0'/>
    <memnode cellid='0' mode='strict' nodeset='0'/>
  </numatune>
  <unheard-of depth='3'><inner/></unheard-of>
  <perf><event name='cmt' enabled='yes'/></perf>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='writeback' discard='unmap'/>
      <auth username='cinder'>
        <secret type='ceph' uuid='11111111-0000-4000-8000-000000000001'/>
      </auth>
      <source protocol='rbd' name='vms/c88932a8_disk' index='2'>
        <host name='10.0.0.1' port='6789'/>
        <snapshot name='keep'/>
      </source>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' queues='4' iothread='1'/>
      <source dev='/dev/sdb' index='1'/>
      <backingStore/>
      <target dev='vdb' bus='virtio'/>
      <iotune><read_iops_sec>100</read_iops_sec></iotune>
      <serial>{VOLUME}</serial>
      <encryption format='luks'>
        <secret type='passphrase' uuid='11111111-0000-4000-8000-000000000002'/>
      </encryption>
      <alias name='ua-{VOLUME}'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>
    </disk>
    <disk type='block' device='lun' sgio='unfiltered'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/sdc'><reservations managed='yes'/></source>
      <target dev='sda' bus='scsi'/>
      <alias name='ua-{LUN}'/>
      <address type='drive' controller='0' bus='0' target='0' unit='1'/>
    </disk>
    <interface type='bridge'>
      <mac address='{MAC}'/>
      <source bridge='qbr1234'/>
      <bandwidth><inbound average='100'/></bandwidth>
      <target dev='tap1234'/>
      <model type='virtio'/>
      <driver name='vhost' queues='2' rx_queue_size='512'/>
      <mtu size='1450'/>
      <alias name='net0'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
    </interface>
    <serial type='tcp'>
      <source mode='bind' host='10.0.0.1' service='10000' tls='no'/>
      <log file='/instances/console.log' append='off'/>
      <target type='isa-serial' port='0'/>
    </serial>
    <serial type='tcp'>
      <source mode='bind' host='10.0.0.1' service='10001'/>
      <target type='isa-serial' port='1'/>
    </serial>
    <console type='tcp'>
      <source mode='bind' host='10.0.0.1' service='10000'/>
      <target type='serial' port='0'/>
    </console>
    <graphics type='vnc' port='5900' autoport='yes' listen='10.0.0.1'>
      <listen type='address' address='10.0.0.1'/>
    </graphics>
    <graphics type='egl-headless'/>
    <unheard-of-device/>
  </devices>
</domain>
"""

TAP = NicSpec(MAC, "tap", target="tap1234", driver="vhost", rx_queue_size=1024, mtu=9000)


def root(changes: GuestChanges, live: str = LIVE) -> ET.Element:
    return ET.fromstring(moved(live, changes))


def same(one: ET.Element | None, other: ET.Element | None) -> bool:
    """Whether two elements say the same, in the same order."""
    if one is None or other is None:
        return one is other
    return (
        (one.tag, one.attrib, (one.text or "").strip(), len(one))
        == (other.tag, other.attrib, (other.text or "").strip(), len(other))
    ) and all(map(same, one, other))


def parts(element: ET.Element, *names: str) -> dict[str, ET.Element]:
    """Children that are not named."""
    return {child.tag: child for child in element if child.tag not in names}


def test_without_changes_the_guest_is_the_same() -> None:
    """Nothing is lost, known or not."""
    assert same(root(GuestChanges()), ET.fromstring(LIVE))


def test_consoles_listen_where_the_other_host_says() -> None:
    """Ports of serial ports by their numbers; what graphics there are else stays."""
    found = root(GuestChanges(listen={"vnc": "10.0.0.2"}, serial=("10.0.0.3", (20000, 20005))))

    vnc = found.find("devices/graphics[@type='vnc']")
    assert vnc is not None
    assert (vnc.get("listen"), vnc.get("autoport")) == ("10.0.0.2", "yes")
    assert [listen.get("address") for listen in vnc] == ["10.0.0.2"]
    assert same(found.find("devices/graphics[2]"), ET.fromstring("<graphics type='egl-headless'/>"))
    sources = [*found.findall("devices/serial/source"), *found.findall("devices/console/source")]
    assert [(s.get("host"), s.get("service"), s.get("mode")) for s in sources] == [
        ("10.0.0.3", "20000", "bind"),
        ("10.0.0.3", "20005", "bind"),
        ("10.0.0.3", "20000", "bind"),
    ]
    assert sources[0].get("tls") == "no"


def test_a_card_is_plugged_as_the_other_host_plugs_it() -> None:
    """What the guest sees of it stays: queues, MTU, address."""
    found = root(GuestChanges(nics={MAC.upper(): TAP})).find("devices/interface")
    before = ET.fromstring(LIVE).find("devices/interface")

    assert found is not None
    assert before is not None
    assert found.get("type") == "ethernet"
    assert found.find("source") is None
    target = found.find("target")
    assert target is not None
    assert target.attrib == {"dev": "tap1234", "managed": "no"}
    kept, known = parts(found, "source", "target"), parts(before, "source", "target")
    assert list(kept) == list(known)
    assert all(same(kept[name], known[name]) for name in known)


@pytest.mark.parametrize(
    ("nic", "source", "port"),
    [
        (NicSpec(MAC, "ovs", "tap1234", "br-int", "iface"),
         {"bridge": "br-int"}, {"interfaceid": "iface"}),
        (NicSpec(MAC, "vhostuser", source_path="/run/vhu", source_mode="server"),
         {"type": "unix", "mode": "server", "path": "/run/vhu"}, None),
    ],
    ids=["ovs", "vhostuser"],
)  # fmt: skip
def test_a_card_may_reach_its_network_another_way(
    nic: NicSpec, source: dict[str, str], port: dict[str, str] | None
) -> None:
    """Whatever was on this host goes with its place."""
    found = root(GuestChanges(nics={MAC: nic})).find("devices/interface")

    assert found is not None
    place, parameters = found.find("source"), found.find("virtualport/parameters")
    assert place is not None
    assert place.attrib == source
    assert (None if parameters is None else parameters.attrib) == port
    driver = found.find("driver")
    assert driver is not None
    assert (driver.get("name"), driver.get("queues")) == (None, "2")
    assert (found.find("bandwidth") is None) == (nic.plug == "vhostuser")


def test_hardware_is_not_taken_along() -> None:
    """A card that is a virtual function there is refused, as are cards that the guest has not."""
    with pytest.raises(HypervisorError, match=f"{MAC} is hardware"):
        moved(LIVE, GuestChanges(nics={MAC: NicSpec(MAC, "hostdev", source_path="0000:06:00.1")}))
    with pytest.raises(HypervisorError, match="fa:16:3e:00:00:00"):
        moved(LIVE, GuestChanges(nics={"fa:16:3e:00:00:00": TAP}))


def test_a_volume_is_where_the_other_host_connected_it() -> None:
    """Its secret and how it is opened are that host's; address, limits, queues are the guest's."""
    there = DiskSpec(
        "vdz", "scsi", "volumes/v1", source_type="network", cache="writeback", discard="unmap",
        serial=VOLUME, alias=VOLUME,
        network=NetworkSource("rbd", (("10.0.0.9", "3300"),), "cinder", "ceph", "2-2"),
    )  # fmt: skip
    found = root(GuestChanges(volumes={VOLUME: there})).find("devices/disk[2]")
    before = ET.fromstring(LIVE).find("devices/disk[2]")

    assert found is not None
    assert before is not None
    assert found.get("type") == "network"
    source, driver = found.find("source"), found.find("driver")
    assert source is not None
    assert driver is not None
    assert source.attrib == {"protocol": "rbd", "name": "volumes/v1"}
    assert found.find("auth") is not None
    assert found.find("encryption") is None
    assert driver.attrib == {
        "name": "qemu", "type": "raw", "cache": "writeback", "discard": "unmap",
        "queues": "4", "iothread": "1",
    }  # fmt: skip
    places = ("source", "auth", "encryption", "backingStore", "driver")
    kept, known = parts(found, *places), parts(before, *places)
    assert list(kept) == list(known)
    assert all(same(kept[name], known[name]) for name in known)


@pytest.mark.parametrize(
    ("limits", "told"),
    [({"read_iops_sec": 50, "write_iops_sec": 60}, {"read_iops_sec": "50", "write_iops_sec": "60"}),
     ({}, {"read_iops_sec": "100"})],
)  # fmt: skip
def test_a_volume_gets_the_limits_that_cinder_has_told_the_other_host(
    limits: dict[str, int], told: dict[str, str]
) -> None:
    """All of them; where it has told of none they stay, as in stock."""
    there = DiskSpec("vdb", "virtio", "/dev/sdq", source_type="block", serial=VOLUME, iotune=limits)
    found = root(GuestChanges(volumes={VOLUME: there}))

    (tune,) = found.findall("devices/disk[2]/iotune")
    assert {limit.tag: limit.text for limit in tune} == told


def test_an_encrypted_volume_gets_the_other_hosts_secret() -> None:
    """Not both, and not this host's."""
    there = DiskSpec("vdb", "virtio", "/dev/sdq", source_type="block", serial=VOLUME,
                     secret_uuid="33333333-0000-4000-8000-000000000003")  # fmt: skip
    found = root(GuestChanges(volumes={VOLUME: there}))

    (secret,) = found.findall("devices/disk[2]/encryption/secret")
    assert secret.get("uuid") == "33333333-0000-4000-8000-000000000003"


def test_a_lun_is_found_by_its_alias() -> None:
    """libvirt shows no serial of a device that is passed through; one that became a disk is
    refused."""
    there = DiskSpec("sda", "scsi", "/dev/sdx", kind="lun", source_type="block", serial=LUN)
    found = root(GuestChanges(volumes={LUN: there})).find("devices/disk[3]")

    assert found is not None
    source = found.find("source")
    assert source is not None
    assert (source.get("dev"), found.get("sgio")) == ("/dev/sdx", "unfiltered")
    with pytest.raises(HypervisorError, match="is a lun here and a disk"):
        moved(LIVE, GuestChanges(volumes={LUN: replace(there, kind="disk")}))
    with pytest.raises(HypervisorError, match="does not have volume other"):
        moved(LIVE, GuestChanges(volumes={"other": there}))


def test_disks_in_ceph_get_the_monitors_of_the_other_host() -> None:
    """All else of the source stays; volumes are not touched, they have their own."""
    found = root(GuestChanges(monitors=(("10.0.0.8", "3300"), ("10.0.0.9", "3300"))))

    source = found.find("devices/disk[1]/source")
    assert source is not None
    assert [child.get("name") for child in source] == ["10.0.0.8", "10.0.0.9", "keep"]
    assert same(found.find("devices/disk[2]"), ET.fromstring(LIVE).find("devices/disk[2]"))


@pytest.mark.parametrize(("cpus", "told"), [(frozenset({4, 5}), "4-5"), (frozenset(), None)])
def test_a_guest_that_is_not_pinned_gets_the_shared_cpus(
    cpus: frozenset[int], told: str | None
) -> None:
    """Empty for all of the host's."""
    vcpu = root(GuestChanges(cpuset=cpus)).find("vcpu")

    assert vcpu is not None
    assert (vcpu.get("cpuset"), vcpu.get("placement"), vcpu.text) == (told, "static", "2")


def test_a_pinned_guest_gets_its_new_places() -> None:
    """Processors, emulator, I/O thread, real-time priority, memory."""
    pins = CpuTune(
        pins={0: frozenset({6}), 1: frozenset({7})}, emulator_pin=frozenset({6, 7}),
        realtime=frozenset({1}), realtime_priority=5,
    )  # fmt: skip
    found = root(GuestChanges(pins=pins, memory_nodes={0: frozenset({1})}))

    pinned = [(pin.tag, pin.get("cpuset")) for pin in found.findall("cputune/*[@cpuset]")]
    assert pinned == [
        ("vcpupin", "6"), ("vcpupin", "7"), ("emulatorpin", "6-7"), ("iothreadpin", "6-7")
    ]  # fmt: skip
    (sched,) = found.findall("cputune/vcpusched")
    assert (sched.get("vcpus"), sched.get("priority")) == ("1", "5")
    assert [node.get("nodeset") for node in found.findall("numatune/*")] == ["1", "1"]


def test_pins_for_a_cpu_that_has_none_are_refused() -> None:
    """The guest is another one than the other host has claimed CPUs for."""
    with pytest.raises(HypervisorError, match="CPU 2 is not pinned"):
        moved(LIVE, GuestChanges(pins=CpuTune(pins={2: frozenset({6})})))
    with pytest.raises(HypervisorError, match="NUMA node 1"):
        moved(LIVE, GuestChanges(memory_nodes={1: frozenset({1})}))


@pytest.mark.parametrize(("events", "told"), [(("mbmt",), ["mbmt"]), ((), [])])
def test_performance_events_are_those_of_the_other_host(
    events: tuple[str, ...], told: list[str]
) -> None:
    """None leaves no element."""
    found = root(GuestChanges(perf_events=events))

    assert [event.get("name") for event in found.findall("perf/event")] == told
    assert len(found.findall("perf")) == bool(events)


def test_memory_in_files_where_the_other_host_has_it_there() -> None:
    """Memory that is shared for another reason stays as it is."""
    found = root(GuestChanges(file_backed_memory=True))
    backing = found.find("memoryBacking")
    assert backing is not None
    assert [(e.tag, *e.attrib.values()) for e in backing] == [
        ("source", "file"), ("access", "shared"), ("allocation", "immediate"), ("discard",)
    ]  # fmt: skip

    back = root(GuestChanges(file_backed_memory=False), ET.tostring(found, encoding="unicode"))
    assert list(back.find("memoryBacking") or ()) == []
    assert same(root(GuestChanges(file_backed_memory=False)), ET.fromstring(LIVE))


def test_a_weight_that_the_flavor_does_not_ask_for_goes() -> None:
    """And with it an element that says nothing more."""
    assert root(GuestChanges(drop_cpu_shares=True)).find("cputune/shares") is None
    only = LIVE[: LIVE.index("<vcpupin")] + LIVE[LIVE.index("</cputune>") :]
    assert root(GuestChanges(drop_cpu_shares=True), only).find("cputune") is None
