"""A server's ports in Neutron: create, bind, refresh, unbind and delete them.

Nothing here is remembered between calls: which ports a server has is read from Neutron, where every
port carries the server's uuid as ``device_id`` from the moment it exists. So an allocation that was
cut off is repeated without making a second port.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_vifs import Surroundings, age, is_active, profile_of, vif_of
from nova_lite.clock import SYSTEM, Clock
from nova_lite.model.network import Vif
from nova_lite.model.server import Server
from nova_lite.services.port_allocation import Allocation, ProvenRights, check_groups, owner_of
from nova_lite.services.port_requests import PortRequest, Resolver

LOG = logging.getLogger(__name__)

# What a compute host writes into a binding profile, and takes out again when it lets go.
OUR_PROFILE_KEYS = (
    "allocation",
    "arq_uuid",
    "card_serial_number",
    "device_mac_address",
    "pci_slot",
    "pci_vendor_info",
    "pf_mac_address",
    "physical_network",
    "vf_num",
)
UNBOUND = ("unbound", "binding_failed")


class Ports:
    """The ports of servers on this host.

    :param neutron: access to Neutron
    :param conf: the options; [neutron] ovs_bridge and flat_injected are read
    """

    def __init__(self, neutron: Neutron, conf: Any, clock: Clock = SYSTEM) -> None:
        self._neutron = neutron
        self._conf = conf
        self._clock = clock
        self._rights = ProvenRights(clock)

    def allocate(
        self,
        context: Any,
        server: Server,
        requests: Sequence[PortRequest],
        security_groups: Sequence[str],
        host: str,
    ) -> list[Vif]:
        """Create or adopt the requested ports and bind them to ``host``, in the request's order.

        May be repeated: ports that an earlier try made are found and kept, surplus ones removed. A
        try that fails leaves its ports for ``deallocate``.

        :param requests: see PortRequest; none at all asks for the project's only network
        :param security_groups: ids or names, for the ports made here
        :param host: nova.conf's host, as Neutron's agents know it
        :raises NetworkRequestInvalid: or a child of it: the request cannot be fulfilled anywhere
        :raises PortBindingFailed: Neutron cannot serve a port on this host
        :raises NetworkUnavailable: Neutron does not answer
        """
        around = Surroundings()
        resolver = Resolver(self._neutron, context, server, around)
        resolved = resolver.resolve(requests)
        if not resolved:
            return []
        groups = resolver.security_groups(security_groups)
        check_groups(around, resolved, groups)
        with ThreadPoolExecutor(1, thread_name_prefix="subnets") as pool:
            # What the ports refer to is read while they are made.
            reading = pool.submit(self._read_around, context, around, resolved)
            work = Allocation(
                self._neutron, self._rights, context, server, around, groups, host, self._clock
            )
            ports = work.run(resolved, resolver.ports)
            reading.result()
        return [
            self._vif(port, around, preserve=bool(request.port_id), tag=request.tag)
            for request, port in zip(resolved, ports, strict=True)
        ]

    def deallocate(self, context: Any, server_uuid: str, preserved_ids: Iterable[str]) -> None:
        """Delete the ports created for a server; unbind those that existed before it.

        Ports that are gone, or that belong to somebody else by now, are left alone.

        :param preserved_ids: ports that existed before the server
        """
        admin, preserved = self._neutron.admin(context), set(preserved_ids)
        fields = ("id", "network_id", "binding:profile", "dns_name")
        failure: errors.NovaLiteError | None = None
        ports = admin.ports(device_id=server_uuid, fields=fields)
        kept = [port for port in ports if port["id"] in preserved]
        around = Surroundings()
        around.add_networks(admin, {port["network_id"] for port in kept if "dns_name" in port})
        for port in ports:
            try:
                if port["id"] in preserved:
                    self._unbind(context, port, around)
                else:
                    admin.delete_port(port["id"])
            except errors.PortNotFound:
                continue
            except errors.NovaLiteError as exc:  # the others must not wait for this one
                LOG.warning("Port %s of server %s: %s", port["id"], server_uuid, exc)
                failure = failure or exc
        if failure is not None:
            raise failure

    def bind(self, context: Any, server: Server, known: Sequence[Vif], host: str) -> list[Vif]:
        """Bind the ports that a server has to ``host``; returns them as ``refresh`` does.

        Ports that are bound there stay as they are.

        :raises PortBindingFailed: Neutron cannot serve a port on this host
        :raises NetworkUnavailable: Neutron does not answer
        """
        admin = self._neutron.admin(context)
        for port in admin.ports(device_id=server.uuid):
            bound = port.get("binding:host_id") == host
            if not bound or port.get("binding:vif_type") in UNBOUND:
                owner = owner_of(server)
                admin.update_port(port["id"], binding__host_id=host, device_owner=owner)
        return self.refresh(context, server.uuid, known)

    def unbind(self, context: Any, server_uuid: str, host: str) -> None:
        """Unbind a server's ports from ``host``; the server keeps them with their addresses.

        Ports that are bound elsewhere are left alone.
        """
        admin = self._neutron.admin(context)
        fields = ("id", "binding:host_id", "binding:profile")
        for port in admin.ports(device_id=server_uuid, fields=fields):
            if port.get("binding:host_id") != host:
                continue
            try:
                admin.update_port(
                    port["id"], binding__host_id=None, binding__profile=_without_ours(port)
                )
            except errors.PortNotFound:
                continue

    def refresh(
        self, context: Any, server_uuid: str, known: Sequence[Vif], *, only: str | None = None
    ) -> list[Vif]:
        """The interfaces as Neutron describes them now, in their order.

        What only we know (``preserve``, ``tag``, ``queues``, ``meta``) is carried over. A port that
        is gone from the server is left out; when nothing is known (a lost cache), all ports of the
        server are found again.

        :param only: refresh this port, leave the others as they are; if it is gone it stays too,
            because its host side is still to be removed
        """
        admin = self._neutron.admin(context)
        rows = admin.ports(device_id=server_uuid)
        current = {row["id"]: row for row in sorted(rows, key=age)}
        if only is not None:
            wanted = {only} & current.keys()
        else:
            wanted = {vif.id for vif in known} & current.keys() if known else set(current)
        fresh = {
            vif.id: vif
            for vif in self.network_info(
                context, [port for port_id, port in current.items() if port_id in wanted]
            )
        }
        result = []
        for vif in known:
            if vif.id in fresh:
                result.append(_carry_over(vif, fresh.pop(vif.id)))
            elif only is not None:
                result.append(vif)
        return result + list(fresh.values())

    def gone(self, context: Any, port_ids: Iterable[str]) -> set[str]:
        """Those of the ports that were deleted; one that is somebody else's by now was not."""
        wanted = set(port_ids)
        if not wanted:
            return set()
        rows = self._neutron.admin(context).ports(id=sorted(wanted), fields=("id",))
        return wanted - {row["id"] for row in rows}

    def active(self, context: Any, server_uuid: str) -> set[str]:
        """Ids of the server's ports that are wired up, or never will be: see ``Vif.active``."""
        rows = self._neutron.admin(context).ports(
            device_id=server_uuid, fields=("id", "status", "admin_state_up")
        )
        return {row["id"] for row in rows if is_active(row)}

    def network_info(
        self, context: Any, ports: Sequence[dict[str, Any]], *, preserved_ids: Iterable[str] = ()
    ) -> list[Vif]:
        """Interfaces made from ports as an administrator sees them.

        :raises PortBindingFailed: Neutron could not bind one of them
        """
        admin, around, preserved = self._neutron.admin(context), Surroundings(), set(preserved_ids)
        network_ids = {port["network_id"] for port in ports}
        around.add_networks(admin, network_ids)
        around.add_subnets(admin, network_ids)
        around.add_floating_ips(admin, [port["id"] for port in ports])
        return [self._vif(port, around, preserve=port["id"] in preserved) for port in ports]

    def _vif(self, port: dict[str, Any], around: Surroundings, **values: Any) -> Vif:
        return vif_of(
            port,
            around,
            ovs_bridge=self._conf.neutron.ovs_bridge,
            injected=self._conf.flat_injected,
            **values,
        )

    def _read_around(
        self, context: Any, around: Surroundings, requests: Sequence[PortRequest]
    ) -> None:
        admin = self._neutron.admin(context)
        around.add_subnets(admin, [str(request.network_id) for request in requests])
        # A port made just now has no floating address.
        around.add_floating_ips(admin, [item.port_id for item in requests if item.port_id])

    def _unbind(self, context: Any, port: dict[str, Any], around: Surroundings) -> None:
        values: dict[str, Any] = {
            "device_id": "",
            "device_owner": "",
            "binding__host_id": None,
            "binding__profile": _without_ours(port),
        }
        named_by_user = bool(around.networks.get(port["network_id"], {}).get("dns_domain"))
        if "dns_name" in port and not named_by_user:
            values["dns_name"] = ""
        self._neutron.admin(context).update_port(port["id"], **values)
        if named_by_user:
            # The record lies in the user's zone, so only the user's rights reach it.
            self._neutron.user(context).update_port(port["id"], dns_name="")


def _without_ours(port: dict[str, Any]) -> dict[str, Any]:
    """The port's binding profile without what a host wrote there."""
    return {k: v for k, v in profile_of(port).items() if k not in OUR_PROFILE_KEYS}


def _carry_over(old: Vif, new: Vif) -> Vif:
    meta = {**old.meta, **new.meta}
    return replace(new, preserve=old.preserve, tag=old.tag, queues=old.queues, meta=meta)
