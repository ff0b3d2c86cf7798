"""Giving a guest another device, for good; its board may have no place left."""

from __future__ import annotations

from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.errors import NoFreeSlot


def places(domain: Any) -> list[int]:
    """Where the domain has devices: in its definition and, when it is active, right now."""
    live = [libvirt.VIR_DOMAIN_AFFECT_LIVE] if domain.isActive() else []
    return [*live, libvirt.VIR_DOMAIN_AFFECT_CONFIG]


def attach(domain: Any, xml: str, flags: int, elsewhere: str = "") -> None:
    """Attach a device.

    :param flags: the places that do not have it
    :param elsewhere: what the user can do beside, for the message
    :raises NoFreeSlot: nothing more can be plugged in; the message says what to change
    """
    try:
        domain.attachDeviceFlags(xml, flags)
    except libvirt.libvirtError as error:
        if "No more available PCI" in error.get_error_message():
            raise NoFreeSlot(_no_slot(domain, elsewhere)) from None
        raise


def _no_slot(domain: Any, elsewhere: str) -> str:
    more = f", {elsewhere}" if elsewhere else ""
    if live_xml.has_pcie(domain.XMLDesc(0)):
        return (
            "the guest has no free PCIe port: raise [libvirt]num_pcie_ports (at most 28) and hard "
            f"reboot the server{more}"
        )
    return f"the guest has no free PCI slot: detach another device{more}"
