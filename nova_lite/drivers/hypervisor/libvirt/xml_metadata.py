"""The nova element of a domain's metadata, in stock nova-compute's form.

Ceilometer and operators' tools read it; its shape is that of the namespace's version 1.1.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

from nova_lite.drivers.hypervisor.libvirt.xml_tools import clean

NAMESPACE = "http://openstack.org/xmlns/libvirt/nova/1.1"
ET.register_namespace("nova", NAMESPACE)
# By this prefix libvirt finds the element when it replaces it; it must be another than that inside.
KEY = "instance"

# Lists of name -> value pairs: element of the list -> element of one entry.
_PAIRS = {"extraSpecs": "extraSpec", "properties": "property"}
# What is written as attributes; everything else becomes an element with text.
_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "package": ("version",),
    "flavor": ("name", "id"),
    "image": ("uuid",),
    "user": ("uuid",),
    "project": ("uuid",),
    "root": ("type", "uuid"),
    "port": ("uuid",),
    "ip": ("type", "address", "ipVersion"),
}


def render(data: Mapping[str, Any]) -> ET.Element | None:
    """Turn DomainSpec.metadata into ``<metadata>``; None when there is none.

    :param data: nested plain data under the namespace's element names; ``owner`` holds ``user`` and
        ``project`` as {uuid, name}, ``ports`` is a list of {uuid, ips}
    """
    if not data:
        return None
    metadata = ET.Element("metadata")
    metadata.append(instance(data))
    return metadata


def instance(data: Mapping[str, Any]) -> ET.Element:
    """What is inside ``<metadata>``."""
    element = ET.Element(f"{{{NAMESPACE}}}instance")
    for name, value in data.items():
        _render(element, name, value)
    return element


def _render(parent: ET.Element, name: str, value: Any) -> None:
    if name == "ports":
        _ports(_child(parent, "ports"), value)
    elif name in _PAIRS:
        pairs = _child(parent, name)
        for key in value:
            _child(pairs, _PAIRS[name], value[key], {"name": key})
    elif isinstance(value, Mapping):
        _mapping(parent, name, value)
    elif value is not None:
        _child(parent, name, value)


def _mapping(parent: ET.Element, name: str, value: Mapping[str, Any]) -> None:
    attributes = {key: value.get(key, "") for key in _ATTRIBUTES.get(name, ())}
    rest = {key: value[key] for key in value if key not in attributes}
    # A user's or project's name is the text of its element.
    text = rest.pop("name", None) if name in ("user", "project") else None
    element = _child(parent, name, text, attributes)
    for key, nested in rest.items():
        _render(element, key, nested)


def _ports(parent: ET.Element, ports: Iterable[Mapping[str, Any]]) -> None:
    for port in ports:
        element = _child(parent, "port", None, {"uuid": port["uuid"]})
        for ip in port.get("ips", ()):
            _child(element, "ip", None, {key: ip[key] for key in _ATTRIBUTES["ip"]})


def _child(
    parent: ET.Element, name: str, text: Any = None, attributes: Mapping[str, Any] | None = None
) -> ET.Element:
    element = ET.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    for key, value in (attributes or {}).items():
        element.set(key, clean(value))
    if text is not None:
        element.text = clean(text)
    return element
