"""QEMU and KVM guests through libvirt.

The package may be imported where libvirt-python is missing; only the driver itself needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nova_lite.drivers.hypervisor.libvirt.driver import LibvirtHypervisor

__all__ = ["LibvirtHypervisor"]


def __getattr__(name: str) -> Any:
    if name == "LibvirtHypervisor":
        from nova_lite.drivers.hypervisor.libvirt.driver import LibvirtHypervisor

        return LibvirtHypervisor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
