"""Addresses that a server's ports get, or give back, while it lives.

Calls are the user's: Neutron's policies say who may choose addresses. A port is changed on the
condition that it is as it was read (``If-Match: revision_number=``, Neutron's API extension
revision-if-match), so that a repeated call, or somebody who changes the port at the same time,
neither adds an address twice nor loses one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Api, Neutron

LOG = logging.getLogger(__name__)

TRIES = 4  # to change a port that others change at the same time
FIELDS = ("id", "network_id", "fixed_ips", "revision_number")


class FixedIps:
    """The addresses of servers' ports.

    :param neutron: access to Neutron

    Every method may raise NetworkUnavailable (Neutron does not answer) and RequestTokenExpired.
    """

    def __init__(self, neutron: Neutron) -> None:
        self._neutron = neutron

    def on_network(self, context: Any, server_uuid: str, network_id: str) -> dict[str, list[str]]:
        """Port id -> its addresses, of the ports that a server has on a network.

        :raises NetworkNotFoundForInstance: it has none there, or the user does not see the network
        """
        user = self._neutron.user(context)
        ports = user.ports(device_id=server_uuid, network_id=network_id, fields=FIELDS)
        if not ports or not user.subnets(network_id=network_id, fields=("id",)):
            raise _not_on(server_uuid, network_id, "it has no port there, or no subnet")
        return {port["id"]: _addresses(port) for port in ports}

    def add(
        self,
        context: Any,
        server_uuid: str,
        network_id: str,
        before: Mapping[str, Sequence[str]],
    ) -> None:
        """Give the first port that takes one an address of the network's first subnet that has one.

        May be repeated: nothing is added where a port has an address beside those of ``before``.

        :param before: as ``on_network`` returned it once
        :raises NetworkNotFoundForInstance: no port gets an address there
        """
        user = self._neutron.user(context)
        subnets = [row["id"] for row in user.subnets(network_id=network_id, fields=("id",))]
        refusal = "it has no port there, or no subnet"
        for port_id in before:
            for subnet_id in subnets:
                try:
                    if self._add(context, server_uuid, port_id, before, subnet_id):
                        return
                except errors.NetworkRequestInvalid as error:
                    LOG.info("Port %s of server %s gets no address of subnet %s: %s",
                             port_id, server_uuid, subnet_id, error)  # fmt: skip
                    refusal = str(error)
        raise _not_on(server_uuid, network_id, refusal)

    def _add(
        self,
        context: Any,
        server_uuid: str,
        port_id: str,
        before: Mapping[str, Sequence[str]],
        subnet_id: str,
    ) -> bool:
        """Whether the port has, or another one has got by now, an address; False: it is gone."""
        for _ in range(TRIES):
            ports = self._of(context, server_uuid)
            known = {one: ports[one] for one in before if one in ports}
            if any(set(_addresses(row)) - set(before[one]) for one, row in known.items()):
                return True  # an earlier try, whose answer was lost, has added it
            if port_id not in ports:
                return False
            port = ports[port_id]
            if self._change(context, port, [*port["fixed_ips"], {"subnet_id": subnet_id}]):
                return True
        raise _busy(port_id)

    def port_with(self, context: Any, server_uuid: str, address: str) -> str:
        """Id of the server's port that has an address.

        :raises FixedIpNotFoundForInstance: none has it
        """
        for port in self._of(context, server_uuid).values():
            if address in _addresses(port):
                return str(port["id"])
        raise errors.FixedIpNotFoundForInstance(
            f"Instance {server_uuid} does not have fixed IP '{address}'."
        )

    def remove(self, context: Any, server_uuid: str, port_id: str, address: str) -> None:
        """Take an address from a port; a port that has it no more, or is gone, is left alone.

        :raises NetworkRequestInvalid: Neutron refuses
        """
        for _ in range(TRIES):
            port = self._of(context, server_uuid).get(port_id)
            if port is None or address not in _addresses(port):
                return
            rest = [entry for entry in port["fixed_ips"] if entry["ip_address"] != address]
            if self._change(context, port, rest):
                return
        raise _busy(port_id)

    def _of(self, context: Any, server_uuid: str) -> dict[str, dict[str, Any]]:
        rows = self._neutron.user(context).ports(device_id=server_uuid, fields=FIELDS)
        return {row["id"]: row for row in rows}

    def _change(
        self, context: Any, port: Mapping[str, Any], fixed_ips: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Set the port's addresses; False where it is not as it was read any more."""
        # Never the agent in the user's stead: it may choose addresses that the user may not.
        api: Api = self._neutron.user(context, fall_back=False)
        try:
            api.update_port(
                port["id"], revision=port.get("revision_number"), fixed_ips=list(fixed_ips)
            )
        except errors.PortChanged:
            return False
        return True


def _addresses(port: Mapping[str, Any]) -> list[str]:
    return [entry["ip_address"] for entry in port.get("fixed_ips") or ()]


def _not_on(server_uuid: str, network_id: str, why: str) -> errors.NetworkNotFoundForInstance:
    return errors.NetworkNotFoundForInstance(
        f"Network could not be found for instance {server_uuid}. Network {network_id}: {why}"
    )


def _busy(port_id: str) -> errors.PortChanged:
    return errors.PortChanged(
        f"Port {port_id} was changed by others {TRIES} times while its addresses were set: ask "
        "again"
    )
