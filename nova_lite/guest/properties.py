"""Typed access to what flavor and image ask for, and what happens when they disagree."""

from __future__ import annotations

from typing import Any

from nova_lite.errors import InvalidGuestConfig
from nova_lite.guest import values
from nova_lite.model.server import Server


class Properties:
    """Image properties (``hw_x``) and flavor extra specs (``hw:x``) of one server.

    Every method raises InvalidGuestConfig, naming the property and its allowed values, when a value
    does not fit; an absent or empty property is None.
    """

    def __init__(self, server: Server) -> None:
        self._flavor, self._image = server.flavor, server.image
        properties = dict(server.image.properties)
        for old, new in values.LEGACY.items():
            if old in properties:
                properties.setdefault(new, properties[old])
        self._properties = properties
        self._adapter()

    def _adapter(self) -> None:
        """VMware's one property for both the bus and its controller."""
        adapter = self._properties.get("vmware_adaptertype")
        if adapter == "ide":
            self._properties.setdefault("hw_disk_bus", "ide")
        elif adapter:
            self._properties.setdefault("hw_disk_bus", "scsi")
            self._properties.setdefault("hw_scsi_model", adapter)

    def image(self, name: str) -> Any:
        """The image property ``name`` (one of values.IMAGE)."""
        return self._read(
            f"image property {name} of image {self._image.name or self._image.id}",
            values.IMAGE[name],
            self._properties.get(name),
        )

    def spec(self, name: str) -> Any:
        """The extra spec ``name`` (one of values.SPECS)."""
        return self._read(
            f"extra spec {name} of flavor {self._flavor.name}",
            values.SPECS[name],
            self._flavor.extra_specs.get(name),
        )

    def agreed(self, name: str, prefix: str = "hw") -> Any:
        """``<prefix>:name`` and ``<prefix>_name``, which may not contradict each other."""
        flavor, image = self.spec(f"{prefix}:{name}"), self.image(f"{prefix}_{name}")
        if flavor is not None and image is not None and flavor != image:
            raise InvalidGuestConfig(
                f"flavor {self._flavor.name} says {prefix}:{name} = {flavor} but image "
                f"{self._image.name or self._image.id} says {prefix}_{name} = {image}; "
                f"remove one of them or make them equal"
            )
        return image if flavor is None else flavor

    def extra_specs(self, prefix: str) -> dict[str, str]:
        """The extra specs whose names start with ``prefix``, unread."""
        return {k: v for k, v in self._flavor.extra_specs.items() if k.startswith(prefix)}

    def raw(self, name: str) -> Any:
        """The image property ``name`` as it came, known here or not."""
        return self._properties.get(name)

    @staticmethod
    def _read(what: str, reader: values.Reader, value: Any) -> Any:
        if value is None or value == "":
            return None
        try:
            return reader(value)
        except ValueError as error:
            raise InvalidGuestConfig(f"{what} is {value!r}: {error}") from None
