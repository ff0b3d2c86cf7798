"""What the kernel says about network cards by their PCI address.

https://docs.kernel.org/PCI/pci-iov-howto.html, https://docs.kernel.org/PCI/sysfs-pci.html
"""

from __future__ import annotations

import re
from pathlib import Path

from nova_lite.errors import VifPlugError, VifTypeUnsupported
from nova_lite.model.network import Vif

DEVICES = Path("/sys/bus/pci/devices")
ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)


def require_slot(vif: Vif) -> None:
    """:raises VifTypeUnsupported: the port has no PCI device that a guest could be given"""
    slot = vif.profile.get("pci_slot")
    if not ADDRESS.fullmatch(str(slot or "")):
        raise VifTypeUnsupported(
            f"port {vif.id} with vnic_type {vif.vnic_type}: binding:profile has no pci_slot like "
            f"0000:06:00.1 ({slot!r}); no PCI device was claimed for it"
        )


def slot_of(vif: Vif) -> str:
    """The PCI address that the port was given."""
    return str(vif.profile["pci_slot"]).lower()


def present(slot: str) -> bool:
    """Whether the host has the device."""
    return (DEVICES / slot).exists()


def interface(slot: str, *, physical: bool = False) -> str:
    """The network interface of a device, or of the physical function that it is a function of.

    :raises VifPlugError: it has none: another driver has it, or it is gone
    """
    folder = DEVICES / slot / ("physfn/net" if physical else "net")
    names = sorted(path.name for path in folder.glob("*"))
    if not names:
        whose = f"the physical function of PCI device {slot}" if physical else f"PCI device {slot}"
        raise VifPlugError(f"{whose} has no network interface: {folder} is empty or not there")
    return names[0]


def vf_number(slot: str) -> int:
    """Which of its physical function's virtual functions a device is.

    :raises VifPlugError: it is none
    """
    for link in (DEVICES / slot / "physfn").glob("virtfn*"):
        if link.resolve().name == slot:
            return int(link.name.removeprefix("virtfn"))
    raise VifPlugError(f"PCI device {slot} is no virtual function of a network card")


def vdpa_device(slot: str) -> str:
    """The character device of a device's vDPA: /dev/vhost-vdpa-N.

    :raises VifPlugError: it has none
    """
    found = sorted((DEVICES / slot).glob("vdpa*/vhost-vdpa-*"))
    if not found:
        raise VifPlugError(
            f"PCI device {slot} has no vhost-vdpa device: is a vDPA made of it (vdpa dev add), and "
            "the module vhost_vdpa loaded?"
        )
    return f"/dev/{found[0].name}"
