"""Host facts from libvirt's capabilities XML."""

from __future__ import annotations

import pytest

from nova_lite.drivers.hypervisor.libvirt import facts
from nova_lite.errors import HypervisorError

XML = """
<capabilities>
  <host>
    <uuid>5f7c9d3a-0000-4000-8000-000000000001</uuid>
    <cpu>
      <arch>x86_64</arch><model>Skylake-Server</model><vendor>Intel</vendor>
      <topology sockets='1' dies='1' cores='2' threads='2'/>
      <maxphysaddr mode='emulate' bits='46'/>
      <feature name='vmx'/><feature name='aes'/>
    </cpu>
    <topology><cells num='2'>
      <cell id='0'>
        <memory unit='KiB'>4096000</memory>
        <pages unit='KiB' size='4'>1000000</pages><pages unit='KiB' size='2048'>16</pages>
        <cpus num='2'>
          <cpu id='0' socket_id='0' core_id='0' siblings='0,4'/>
          <cpu id='1' socket_id='0' core_id='1' siblings='1,5'/>
          <cpu id='4' socket_id='0' core_id='0' siblings='0,4'/>
          <cpu id='5' socket_id='0' core_id='1' siblings='1,5'/>
        </cpus>
      </cell>
      <cell id='1'><memory unit='KiB'>2048</memory><cpus num='0'/></cell>
    </cells></topology>
  </host>
  <guest><os_type>hvm</os_type>
    <arch name='x86_64'>
      <machine canonical='pc-i440fx-7.2'>pc</machine><machine>pc-i440fx-7.2</machine>
      <domain type='qemu'/><domain type='kvm'><machine>pc</machine></domain>
    </arch>
  </guest>
</capabilities>
"""


def test_cpu_info_has_the_shape_that_nova_stores() -> None:
    """arch, model, vendor, topology with cells, features, address size."""
    assert facts.parse(XML).cpu == {
        "arch": "x86_64",
        "model": "Skylake-Server",
        "vendor": "Intel",
        "topology": {"cells": 2, "sockets": 1, "cores": 2, "threads": 2},
        "features": ["aes", "vmx"],
        "maxphysaddr": {"mode": "emulate", "bits": 46},
    }


def test_numa_cells_know_siblings_and_pages() -> None:
    """Each set of sibling threads is there once; pages go by size in KiB."""
    cell, empty = facts.parse(XML).numa_cells

    assert (cell.id, cell.memory_kib, cell.cpus) == (0, 4096000, frozenset({0, 1, 4, 5}))
    assert cell.siblings == (frozenset({0, 4}), frozenset({1, 5}))
    assert cell.pages == {4: 1000000, 2048: 16}
    assert (cell.socket, empty.socket, empty.cpus) == (0, None, frozenset())


def test_guests_and_machine_types_are_listed_once() -> None:
    """A machine type repeated for KVM is no second one."""
    found = facts.parse(XML)

    assert found.guests == (("x86_64", "qemu", "hvm"), ("x86_64", "kvm", "hvm"))
    assert found.machines == {"x86_64": ("pc", "pc-i440fx-7.2")}


def test_a_host_unknown_to_libvirt_is_refused() -> None:
    """Without a CPU nothing can be promised; the message names the command to look with."""
    with pytest.raises(HypervisorError, match="virsh capabilities"):
        facts.parse("<capabilities><host/></capabilities>")


def test_offline_cpus_do_not_count() -> None:
    """getCPUMap's list says which are online."""
    assert facts.online_cpus((3, [True, False, True], 2)) == {0, 2}
