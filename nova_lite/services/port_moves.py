"""Ports of a server that was to come from another host."""

from __future__ import annotations

from typing import Any

from nova_lite.clients.neutron import Neutron
from nova_lite.model.server import Server


class PortMoves:
    """The part of ``Ports`` for servers that do not come after all."""

    _neutron: Neutron

    def hand_back(self, context: Any, server: Server, host: str, before: str) -> None:
        """Bind the ports that are bound to ``host`` to the host that had them before.

        :raises NetworkUnavailable: Neutron does not answer
        """
        admin = self._neutron.admin(context)
        for port in admin.ports(device_id=server.uuid, fields=("id", "binding:host_id")):
            if port.get("binding:host_id") == host:
                admin.update_port(port["id"], binding__host_id=before)
