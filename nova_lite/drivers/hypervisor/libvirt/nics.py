"""Network cards that come to a guest and leave it while it runs, or is off."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml, slots
from nova_lite.drivers.hypervisor.libvirt.releases import Releases, refuse_saved
from nova_lite.drivers.hypervisor.libvirt.xml_nics import add_nic
from nova_lite.errors import DeviceDetachFailed, DomainNotFound, HypervisorError
from nova_lite.model.domain import NicSpec

LOG = logging.getLogger(__name__)


class Nics(Releases):
    """The part of the Hypervisor contract that plugs network cards in and out."""

    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        def attach(domain: Any) -> None:
            flags = 0
            for place in slots.places(domain):
                if not _found(domain, _xml_flags(place), nic.mac, nic.target or ""):
                    flags |= place
            if not flags:
                return
            if domain.hasManagedSaveImage(0):
                raise HypervisorError(f"guest {uuid} is suspended: resume or stop it first")
            element = add_nic(ET.Element("devices"), nic)
            slots.attach(domain, ET.tostring(element, encoding="unicode"), flags)

        self._with_domain(f"attach network interface {nic.mac} to guest {uuid}", uuid, attach)

    def detach_nic(self, uuid: str, mac: str, device: str) -> None:
        def alias(domain: Any) -> str | None:
            if not domain.isActive():
                return None
            return next((nic.alias for nic in _found(domain, 0, mac, device)), None)

        def refuse_paused(domain: Any) -> None:
            """It would be asked in vain, and let go of the card when it is resumed later."""
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED and alias(domain) is not None:
                raise DeviceDetachFailed(mac, "the guest is paused: unpause it first")

        def undefine(domain: Any) -> None:
            for nic in _found(domain, libvirt.VIR_DOMAIN_XML_INACTIVE, mac, device):
                domain.detachDeviceFlags(nic.xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

        try:
            self._with_domain(f"look at guest {uuid}", uuid, lambda d: refuse_saved(d, mac))
            self._with_domain(f"look at guest {uuid}", uuid, refuse_paused)
            self._release(uuid, f"network interface {mac}", mac, alias)
            what = f"remove network interface {mac} from the definition of guest {uuid}"
            self._with_domain(what, uuid, undefine)
        except DomainNotFound:
            LOG.info("Guest %s is gone, and network interface %s with it", uuid, mac)


def _xml_flags(place: int) -> int:
    return libvirt.VIR_DOMAIN_XML_INACTIVE if place == libvirt.VIR_DOMAIN_AFFECT_CONFIG else 0


def _found(domain: Any, flags: int, mac: str, device: str) -> list[live_xml.FoundNic]:
    """The cards with that address, on that tap or on a device that has another kind of name."""
    return [
        nic
        for nic in live_xml.nics(domain.XMLDesc(flags))
        if nic.mac == mac.lower() and (nic.device == device or not nic.device.startswith("tap"))
    ]
