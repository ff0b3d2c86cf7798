"""One port of a server that exists: chosen, bound and released without a look at its others.

An attach must know its own port again after it was cut off, and never take another one for it.
Neutron keeps no name of the request that made a port. So a port that is made here gets a name of
its own, which the operation has noted before; binding takes the name away.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Api, Neutron
from nova_lite.clients.neutron_vifs import Surroundings, ensure_bound, vif_of
from nova_lite.model.network import NORMAL, Vif
from nova_lite.model.server import Server
from nova_lite.services import hardware_ports
from nova_lite.services.port_allocation import binding_of, name_in_zone, refuse_rate
from nova_lite.services.port_bindings import take_from_server
from nova_lite.services.port_reads import side_by_side
from nova_lite.services.port_requests import PortRequest, Resolver
from nova_lite.services.port_resources import Providers, profile_with

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChosenPort:
    """The port of an attach.

    ``row`` is the port as it was chosen, as far as this process knows it; ``around`` what was read
    of its network.
    """

    id: str
    row: Mapping[str, Any] | None = None
    around: Surroundings = field(default_factory=Surroundings)


class PortAttachments:
    """Attaches and detaches one port of a server at a time.

    :param neutron: access to Neutron
    :param conf: the options; [neutron] ovs_bridge and flat_injected are read
    """

    def __init__(self, neutron: Neutron, conf: Any) -> None:
        self._neutron = neutron
        self._conf = conf

    def choose(
        self,
        context: Any,
        server: Server,
        request: PortRequest,
        name: str,
        *,
        asked_before: bool = False,
    ) -> ChosenPort:
        """The port to attach: the one asked for, or one made for the request.

        Made with the user's token, so that Neutron's policies judge the user, and not bound yet.

        :param name: for a port that is made, unique to the operation
        :param asked_before: a port of that name may have been made already
        :raises NetworkRequestInvalid: or a child of it: the request cannot be fulfilled
        :raises AttachInterfaceUnsupported: the port is a piece of hardware
        :raises NetworkUnavailable: Neutron does not answer; the port may have been made
        """
        if request.port_id is None and asked_before:
            made = self._named(context, server.uuid, name)
            if made:
                return ChosenPort(made[0])
        around = Surroundings()
        resolver = Resolver(self._neutron, context, server, around)
        (resolved,) = resolver.resolve([request])
        if resolved.port_id is not None:
            port = resolver.ports[resolved.port_id]
            _refuse_unfit(port)
        else:
            port = self._make(context, server, resolved, name)
        return ChosenPort(str(port["id"]), port, around)

    def bind(
        self,
        context: Any,
        server: Server,
        chosen: ChosenPort,
        host: str,
        *,
        made: bool,
        name: str | None = None,
        providers: Providers | None = None,
    ) -> Vif:
        """Bind a chosen port to the server on ``host``; may be repeated.

        :param made: whether it was made for the server
        :param name: delete what else was made under it: an answer of Neutron was lost
        :param providers: what serves a port with a guaranteed rate: see ``PortResources.claim``
        :raises NetworkWithGuaranteedRate: it was made, and asks for resources of Placement
        :raises PortInUse: it is another server's by now
        :raises PortNotFound: it is gone
        :raises PortBindingFailed: Neutron cannot serve it on this host
        """
        admin, around, port_id = self._neutron.admin(context), chosen.around, chosen.id
        row = chosen.row or self._read(admin, server, port_id)
        network_id = row["network_id"]
        around.add_networks(admin, [network_id])
        network = around.networks.get(network_id, {})
        values = {"device_id": server.uuid, **binding_of(server, host, network)}
        values |= {"name": ""} if made else _profile(row, providers)
        # What the port refers to is read while it is bound.
        port, *_ = side_by_side(
            [
                lambda: admin.update_port(port_id, **values),
                lambda: around.add_subnets(admin, [network_id]),
                lambda: around.add_floating_ips(admin, () if made else (port_id,)),
            ]
        )
        ensure_bound(port)
        if made:
            refuse_rate(port, server)
        name_in_zone(self._neutron.user(context), port, network, server.hostname)
        self._delete_named(context, server.uuid, name)
        conf = self._conf
        return vif_of(
            port, around, ovs_bridge=conf.neutron.ovs_bridge, injected=conf.flat_injected,
            preserve=not made,
        )  # fmt: skip

    def release(
        self,
        context: Any,
        server_uuid: str,
        port_id: str | None,
        *,
        made: bool,
        name: str | None = None,
    ) -> None:
        """Delete a port that was made for the server, unbind one that existed before; repeatable.

        A port that is gone, or is not the server's any more, is left alone.

        :param port_id: None: none was chosen
        :param name: delete also what was made under it
        """
        admin = self._neutron.admin(context)
        self._delete_named(context, server_uuid, name)
        if port_id is None:
            return
        fields = ("id", "network_id", "device_id", "binding:profile", "dns_name")
        rows = admin.ports(id=[port_id], fields=fields)
        if not rows or rows[0].get("device_id") != server_uuid:
            LOG.info("Port %s is not a port of server %s any more", port_id, server_uuid)
        elif made:
            admin.delete_port(port_id)
        else:
            around = Surroundings()
            if "dns_name" in rows[0]:
                around.add_networks(admin, [rows[0]["network_id"]])
            try:
                take_from_server(self._neutron, context, rows[0], around)
            except errors.PortNotFound:
                return

    @staticmethod
    def _read(admin: Api, server: Server, port_id: str) -> Mapping[str, Any]:
        """A port that an earlier process has chosen."""
        fields = ("id", "network_id", "device_id", "binding:profile", "resource_request")
        rows = admin.ports(id=[port_id], fields=fields)
        if not rows:
            raise errors.PortNotFound(f"Port {port_id} could not be found.")
        if rows[0].get("device_id") not in ("", None, server.uuid):
            raise errors.PortInUse(f"Port {port_id} is still in use.")
        return rows[0]

    def _named(self, context: Any, server_uuid: str, name: str) -> list[str]:
        """Ids of the server's ports that were made under a name and are not bound yet."""
        admin = self._neutron.admin(context)
        rows = admin.ports(device_id=server_uuid, name=name, fields=("id",))
        return sorted(row["id"] for row in rows)

    def _delete_named(self, context: Any, server_uuid: str, name: str | None) -> None:
        for port_id in self._named(context, server_uuid, name) if name else ():
            self._neutron.admin(context).delete_port(port_id)

    def _make(
        self, context: Any, server: Server, request: PortRequest, name: str
    ) -> dict[str, Any]:
        values: dict[str, Any] = {
            "network_id": request.network_id,
            "device_id": server.uuid,
            "tenant_id": server.project_id,
            "admin_state_up": True,
            "name": name,
        }
        if request.fixed_ip:
            values["fixed_ips"] = [{"ip_address": request.fixed_ip}]
        return self._neutron.user(context, fall_back=False).create_port(**values)


def _profile(row: Mapping[str, Any], providers: Providers | None) -> dict[str, Any]:
    """What binding a port that existed before changes of its profile, if anything."""
    profile = profile_with(row, providers or {})
    return {} if profile is None else {"binding__profile": profile}


def _refuse_unfit(port: dict[str, Any]) -> None:
    """Raise for a port that the resolver lets a boot have, but that cannot be attached."""
    if port.get("device_id"):
        raise errors.PortInUse(f"Port {port['id']} is still in use.")
    kind = port.get("binding:vnic_type")
    if not hardware_ports.is_accepted(kind):
        raise errors.AttachInterfaceUnsupported(
            f"port {port['id']} has vnic_type {kind}, which this agent cannot attach to a running "
            f"server: use a port with vnic_type {NORMAL}"
        )
