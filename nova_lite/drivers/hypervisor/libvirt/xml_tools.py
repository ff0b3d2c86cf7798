"""Small helpers around xml.etree: elements without empty attributes, text that XML can carry."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

# Characters that XML 1.0 cannot hold in any form (section 2.2 of the specification).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(value: object) -> str:
    """``value`` as text; characters that XML cannot carry become U+FFFD."""
    return _ILLEGAL.sub("\ufffd", str(value))


def add(parent: ET.Element, tag: str, text: object = None, **attributes: object) -> ET.Element:
    """Append a child; attributes that are None are left out, a trailing ``_`` of names is cut."""
    child = ET.SubElement(parent, tag)
    for name, value in attributes.items():
        if value is not None:
            child.set(name.rstrip("_"), clean(value))
    if text is not None:
        child.text = clean(text)
    return child


def on_off(value: bool) -> str:
    return "on" if value else "off"


def yes_no(value: bool) -> str:
    return "yes" if value else "no"


def child_text(element: ET.Element | None, path: str) -> str | None:
    """Text of a descendant; None when either is missing."""
    found = element.find(path) if element is not None else None
    return found.text if found is not None else None
