"""Network cards that leave a guest while it runs, or is off."""

from __future__ import annotations

import logging
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import live_xml
from nova_lite.drivers.hypervisor.libvirt.releases import Releases, refuse_saved
from nova_lite.errors import DomainNotFound

LOG = logging.getLogger(__name__)


class Nics(Releases):
    """The part of the Hypervisor contract that takes network cards out."""

    def detach_nic(self, uuid: str, mac: str, device: str) -> None:
        def alias(domain: Any) -> str | None:
            if not domain.isActive():
                return None
            return next((nic.alias for nic in _found(domain, 0, mac, device)), None)

        def undefine(domain: Any) -> None:
            for nic in _found(domain, libvirt.VIR_DOMAIN_XML_INACTIVE, mac, device):
                domain.detachDeviceFlags(nic.xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

        try:
            self._with_domain(f"look at guest {uuid}", uuid, lambda d: refuse_saved(d, mac))
            self._release(uuid, f"network interface {mac}", mac, alias)
            what = f"remove network interface {mac} from the definition of guest {uuid}"
            self._with_domain(what, uuid, undefine)
        except DomainNotFound:
            LOG.info("Guest %s is gone, and network interface %s with it", uuid, mac)


def _found(domain: Any, flags: int, mac: str, device: str) -> list[live_xml.FoundNic]:
    """The cards with that address, on that tap or on a device that has another kind of name."""
    return [
        nic
        for nic in live_xml.nics(domain.XMLDesc(flags))
        if nic.mac == mac.lower() and (nic.device == device or not nic.device.startswith("tap"))
    ]
