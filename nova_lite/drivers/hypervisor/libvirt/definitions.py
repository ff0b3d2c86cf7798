"""A guest's definition: what it says of its server; as text, taken aside and put back."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt import xml_metadata
from nova_lite.drivers.hypervisor.libvirt.calls import Calls, find


class Definitions(Calls):
    """The part of the Hypervisor contract that keeps definitions as they are."""

    def definition(self, uuid: str) -> str:
        return self._with_domain(
            f"read the definition of guest {uuid}",
            uuid,
            lambda domain: str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)),
        )

    def redefine(self, uuid: str, definition: str) -> None:
        def define(connection: Any) -> None:
            name = ET.fromstring(definition).findtext("name")
            if name and (domain := find(connection, uuid)) is not None:
                rename(domain, name)
            connection.defineXML(definition)

        self._call(f"define guest {uuid} as before", define)

    def describe(self, uuid: str, metadata: Mapping[str, object]) -> None:
        """virDomainSetMetadata."""
        text = ET.tostring(xml_metadata.instance(metadata), encoding="unicode")

        def write(domain: Any) -> None:
            places = libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                places |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, xml_metadata.KEY,
                xml_metadata.NAMESPACE, places,
            )  # fmt: skip

        self._with_domain(f"describe guest {uuid}", uuid, write)


def rename(domain: Any, name: str) -> None:
    """Give a guest that is off another name (virDomainRename): libvirt defines no second guest with
    its uuid, and names may be made of what users change.

    Memory that was saved goes: what is defined anew boots.
    """
    if domain.name() == name or domain.isActive():
        return  # libvirt refuses another name of a guest that runs, and says so
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()
    domain.rename(name)
