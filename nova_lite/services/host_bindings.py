"""Bindings of a server's ports to several hosts, for a move in which both have one for a while.

Neutron keeps a binding for each host and port; one of them is active, and is what the port shows as
``binding:host_id``. Whoever prepares the move (nova-conductor) makes the other host's, inactive;
the hosts of the move switch between them and remove what is left.

Which ports a server has is read from Neutron, so each call may be repeated.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_bindings import PortBindings

LOG = logging.getLogger(__name__)


class HostBindings:
    """Switches and removes bindings.

    :param neutron: access to Neutron
    :param bindings: those of single ports
    """

    def __init__(self, neutron: Neutron, bindings: PortBindings) -> None:
        self._neutron = neutron
        self._bindings = bindings

    def activate(self, context: Any, server_uuid: str, host: str) -> bool:
        """Make the bindings of a server's ports to ``host`` the active ones.

        Ports that have none there stay as they are.

        :return: whether all ports are bound there now
        :raises NetworkUnavailable: Neutron does not answer
        """
        return self._switch(context, server_uuid, host, None)

    def hand_back(self, context: Any, server_uuid: str, host: str, before: str) -> bool:
        """As ``activate`` for the host ``before``, but ports that are bound to any other host than
        ``host`` stay there: somebody has moved the server on."""
        return self._switch(context, server_uuid, before, (host, "", None))

    def _switch(
        self, context: Any, server_uuid: str, host: str, only: tuple[str | None, ...] | None
    ) -> bool:
        listed = self._listed(context, server_uuid)
        ids = {
            str(port["id"])
            for port in listed
            if (bound := port.get("binding:host_id")) != host and (only is None or bound in only)
        }
        return self._bindings.activate(context, ids, host) == ids

    def remove(self, context: Any, server_uuid: str, host: str) -> None:
        """Remove the inactive bindings of a server's ports to ``host``.

        A port that is bound there, or to no other host, keeps its binding: without an active one it
        would be on no host at all.

        :raises NetworkUnavailable: Neutron does not answer
        """
        admin = self._neutron.admin(context)
        for port in self._listed(context, server_uuid):
            if port.get("binding:host_id") in (host, "", None):
                LOG.warning("Port %s of server %s keeps its binding to host %s: it has no other "
                            "active one", port["id"], server_uuid, host)  # fmt: skip
                continue
            admin.delete_port_binding(port["id"], host)

    def _listed(self, context: Any, server_uuid: str) -> list[dict[str, Any]]:
        admin = self._neutron.admin(context)
        return admin.ports(device_id=server_uuid, fields=("id", "binding:host_id"))
