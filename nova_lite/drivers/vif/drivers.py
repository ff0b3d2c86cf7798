"""The VIF drivers of this agent, each loaded when a port of its kind first needs it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from nova_lite.drivers.vif.base import VifDriver
from nova_lite.errors import InvalidConfiguration, PortBindingFailed, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import NORMAL, Vif

LOG = logging.getLogger(__name__)

NAMESPACE = "nova_lite.vif"
OWN = "nova_lite."  # how the modules of this package begin
SWITCH = "ovs"  # the kind whose switch may hold ports before any is plugged by this process
FAILED = "binding_failed"
# What Neutron calls a port that no host serves: it has no host side.
NOWHERE = ("", "unbound", FAILED)


def kind_of(vif: Vif) -> str:
    """The name of the entry point for such ports: VIF_TYPE, or VIF_TYPE.VNIC_TYPE of hardware."""
    return vif.vif_type if vif.vnic_type == NORMAL else f"{vif.vif_type}.{vif.vnic_type}"


def installed() -> tuple[metadata.EntryPoint, ...]:
    """The entry points of VIF drivers in this environment."""
    return tuple(metadata.entry_points(group=NAMESPACE))


class VifDrivers(VifDriver):
    """All kinds of ports of a host: hands each port to the driver of its kind.

    :param conf: the agent's options, handed to every driver
    :param points: where drivers are found, if not in this environment
    :raises InvalidConfiguration: two packages bring a driver for the same kind, or this one was not
        installed again when it changed
    """

    def __init__(self, conf: Any, points: Iterable[metadata.EntryPoint] | None = None) -> None:
        self._conf = conf
        self._points = _by_kind(installed() if points is None else points)
        if points is None and SWITCH not in self._points:
            raise InvalidConfiguration(
                f"there is no VIF driver {SWITCH} (entry points {NAMESPACE}: "
                f"{', '.join(self.kinds) or 'none'}): nova-lite was installed in another version; "
                "install it again"
            )
        self._lock = threading.Lock()
        self._loaded: dict[str, VifDriver] = {}

    @property
    def kinds(self) -> list[str]:
        """The kinds of ports that there are drivers for."""
        return sorted(self._points)

    def load_added(self) -> None:
        """Load the drivers of other packages: what is wrong with one is in the log from the start,
        and its switch, if it has one, is asked what it has of earlier processes."""
        for kind, point in self._points.items():
            if not point.value.startswith(OWN):
                with contextlib.suppress(VifTypeUnsupported):  # it is logged
                    self.load(kind)

    def load(self, kind: str) -> VifDriver:
        """The driver of a kind in ``kinds``.

        :raises VifTypeUnsupported: it cannot be loaded; it is tried again at the next port
        """
        with self._lock:
            if kind not in self._loaded:
                point = self._points[kind]
                try:
                    self._loaded[kind] = point.load()(self._conf)
                except Exception as error:  # whatever somebody else's module raises
                    message = (
                        f"the VIF driver {_named(point)} cannot be loaded: "
                        f"{type(error).__name__}: {error}"
                    )
                    LOG.exception("%s", message)
                    raise VifTypeUnsupported(message) from error
            return self._loaded[kind]

    # --- one port ---------------------------------------------------------------------------
    def needs_switch(self, vif: Vif) -> bool:
        return kind_of(vif) in self._points and self._of(vif).needs_switch(vif)

    def require(self, vif: Vif) -> None:
        self._of(vif).require(vif)

    def supports(self, vif: Vif) -> bool:
        try:
            return self._of(vif).supports(vif)
        except (VifTypeUnsupported, PortBindingFailed):
            return False

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self.require(vif)
        self._of(vif).plug(
            vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
        )

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.vif_type in NOWHERE:
            return
        self._of(vif).unplug(
            vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
        )

    def plugged(self, vif: Vif) -> bool:
        return self._of(vif).plugged(vif)

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        self.require(vif)
        return self._of(vif).nic(vif, model=model, queues=queues)

    def _of(self, vif: Vif) -> VifDriver:
        kind = kind_of(vif)
        if vif.vif_type == FAILED:
            raise PortBindingFailed(
                f"port {vif.id}: Neutron could bind it to nothing on this host (vif_type "
                f"{FAILED}): look at its agent here (openstack network agent list --host HOST), "
                "and into the log of its server"
            )
        if vif.vif_type in NOWHERE:
            raise VifTypeUnsupported(
                f"port {vif.id} is bound to no host (vif_type {vif.vif_type or 'missing'!r}): "
                "look at the port in Neutron, and reboot the server hard when it is bound again"
            )
        if kind not in self._points:
            raise VifTypeUnsupported(
                f"port {vif.id}: vif_type {vif.vif_type!r} with vnic_type {vif.vnic_type!r}"
                f"{_mechanism(vif)} is not supported on this host; there are drivers for "
                f"{', '.join(self.kinds) or 'nothing'} (entry points {NAMESPACE})"
            )
        try:
            return self.load(kind)
        except VifTypeUnsupported as error:
            raise VifTypeUnsupported(f"port {vif.id}: {error.message}") from error

    # --- the host ---------------------------------------------------------------------------
    @property
    def uses_switch(self) -> bool:
        return any(driver.uses_switch for driver in self._in_use())

    def prepare(self) -> None:
        for driver in self._of_host():
            driver.prepare()

    def check(self) -> None:
        for driver in self._of_host():
            driver.check()

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        found: dict[str, list[Vif]] = {}
        for driver in self._of_host():
            for uuid, vifs in driver.plugged_vifs(server_uuid).items():
                found.setdefault(uuid, []).extend(vifs)
        return found

    def _of_host(self) -> list[VifDriver]:
        """The drivers that can tell about the host: those that are loaded, and that of Open
        vSwitch, which may have ports of servers that were left by an earlier process."""
        if SWITCH in self._points:
            self.load(SWITCH)
        return self._in_use()

    def _in_use(self) -> list[VifDriver]:
        with self._lock:
            return list(self._loaded.values())


def _by_kind(points: Iterable[metadata.EntryPoint]) -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for point in points:
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise InvalidConfiguration(
                f"two VIF drivers for {point.name}: {_named(known)} and {_named(point)}; remove "
                "one of the packages"
            )
    return found


def _named(point: metadata.EntryPoint) -> str:
    package = f" of package {point.dist.name}" if point.dist else ""
    return f"{point.name} = {point.value} (entry points {NAMESPACE}{package})"


def _mechanism(vif: Vif) -> str:
    """Who in Neutron has bound the port; the binding details say it by levels."""
    drivers = vif.details.get("bound_drivers") or {}
    named = [str(drivers[level]) for level in sorted(drivers)] if isinstance(drivers, dict) else []
    return f", bound by Neutron's mechanism driver {', '.join(named)}," if named else ""
