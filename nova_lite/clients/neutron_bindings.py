"""Bindings of one port to several hosts, of which one is active (extension binding-extended).

While a server moves, its ports have one for the host that it leaves, and one for the host that it
comes to, which nova-conductor has made before the move began. Activating one deactivates the other
in the same transaction of Neutron's, and makes its host the port's ``binding:host_id``.

https://docs.openstack.org/api-ref/network/v2/#port-binding
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from nova_lite.clients.neutron import Neutron
from nova_lite.errors import (
    NetworkResourceNotFound,
    PortBindingExists,
    PortBindingNotFound,
    PortNotFound,
)

LOG = logging.getLogger(__name__)

ACTIVE = "ACTIVE"
PORTS_AT_ONCE = 4  # a guest has no network between the first and the last


@dataclass(frozen=True)
class Binding:
    """What Neutron says of one port on one host; ``vif_details`` and ``profile`` as in the API."""

    port_id: str
    host: str
    active: bool
    vif_type: str = ""
    vnic_type: str = "normal"
    vif_details: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)


class PortBindings:
    """The bindings of ports; all of it may be repeated.

    Every method may raise NetworkUnavailable (no answer, or a server error), CredentialsInvalid,
    and the child of NetworkRequestInvalid that a refusal means.
    """

    def __init__(self, neutron: Neutron) -> None:
        """:param neutron: only its own credentials may see and change bindings"""
        self._neutron = neutron

    def of(self, context: Any, port_id: str) -> dict[str, Binding]:
        """The bindings of a port by host; none where the port is gone, or where Neutron knows one
        binding of a port only."""
        try:
            rows = self._neutron.admin(context).port_bindings(port_id)
        except (PortNotFound, NetworkResourceNotFound):
            return {}
        return {row["host"]: _binding(port_id, row) for row in rows}

    def make(
        self, context: Any, port_id: str, host: str, *, vnic_type: str = "normal",
        profile: Mapping[str, Any] | None = None,
    ) -> Binding:  # fmt: skip
        """Make an inactive binding of a port to a host; one that is there is returned as it is.

        :raises PortNotFound: the port is gone
        """
        wanted = {"vnic_type": vnic_type, "profile": dict(profile or {})}
        try:
            row = self._neutron.admin(context).create_port_binding(port_id, host, **wanted)
        except PortBindingExists:
            found = self.of(context, port_id).get(host)
            if found is None:
                raise
            return found
        return _binding(port_id, row)

    def activate(self, context: Any, port_ids: Collection[str], host: str) -> set[str]:
        """Let ports be a host's from now on; several at a time, for each is a round trip.

        A port without a binding to the host, or that is gone, is left as it is.

        :return: those that have an active binding to the host now
        :raises NetworkUnavailable: not all of them are known to have one; repeat it
        """

        def one(port_id: str) -> bool:
            try:
                self._neutron.admin(context).activate_port_binding(port_id, host)
            except (PortBindingNotFound, PortNotFound, NetworkResourceNotFound) as error:
                LOG.info("Port %s is not switched to host %s: %s", port_id, host, error)
                return False
            return True

        return _those(port_ids, one)

    def drop(self, context: Any, port_ids: Collection[str], host: str) -> set[str]:
        """Delete the bindings of ports to a host, unless they are active: then the host has them.

        :return: those that have none to the host now
        """

        def one(port_id: str) -> bool:
            found = self.of(context, port_id).get(host)
            if found is not None and found.active:
                LOG.warning("The binding of port %s to host %s stays: it is active", port_id, host)
                return False
            if found is not None:
                self._neutron.admin(context).delete_port_binding(port_id, host)
            return True

        return _those(port_ids, one)


def _those(port_ids: Collection[str], action: Callable[[str], bool]) -> set[str]:
    ids = list(dict.fromkeys(port_ids))
    if len(ids) <= 1:
        return {port_id for port_id in ids if action(port_id)}
    with ThreadPoolExecutor(min(len(ids), PORTS_AT_ONCE), "bindings") as workers:
        return {port_id for port_id, done in zip(ids, workers.map(action, ids), strict=True)
                if done}  # fmt: skip


def _binding(port_id: str, row: Mapping[str, Any]) -> Binding:
    return Binding(
        port_id,
        row["host"],
        row.get("status") == ACTIVE,
        row.get("vif_type") or "",
        row.get("vnic_type") or "normal",
        row.get("vif_details") or {},
        row.get("profile") or {},
    )
