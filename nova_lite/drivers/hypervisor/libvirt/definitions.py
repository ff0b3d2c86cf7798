"""A guest's definition as text: taken aside while another one is in its place, and put back."""

from __future__ import annotations

import libvirt

from nova_lite.drivers.hypervisor.libvirt.calls import Calls


class Definitions(Calls):
    """The part of the Hypervisor contract that keeps definitions as they are."""

    def definition(self, uuid: str) -> str:
        return self._with_domain(
            f"read the definition of guest {uuid}",
            uuid,
            lambda domain: str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)),
        )

    def redefine(self, uuid: str, definition: str) -> None:
        self._call(f"define guest {uuid} as before", lambda c: c.defineXML(definition))
