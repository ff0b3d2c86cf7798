"""A server's ports in Neutron: create, bind, refresh, unbind and delete them.

Nothing here is remembered between calls: which ports a server has is read from Neutron, where every
port carries the server's uuid as ``device_id`` from the moment it exists. So an allocation that was
cut off is repeated without making a second port.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_bindings import PortBindings
from nova_lite.clients.neutron_vifs import Surroundings, age, is_active, vif_of
from nova_lite.clock import SYSTEM, Clock
from nova_lite.model.network import Vif
from nova_lite.model.server import Server
from nova_lite.services import port_changes
from nova_lite.services.fixed_ips import FixedIps
from nova_lite.services.host_bindings import HostBindings
from nova_lite.services.port_allocation import Allocation, ProvenRights, check_groups, owner_of
from nova_lite.services.port_attachments import PortAttachments
from nova_lite.services.port_bindings import (
    UNBOUND,
    say_migrating,
    take_from_server,
    without_ours,
)
from nova_lite.services.port_reads import (
    RequestReads,
    is_as_known,
    read_around,
    side_by_side,
    unread_networks,
)
from nova_lite.services.port_requests import PortRequest, Resolver
from nova_lite.services.port_resources import Providers, profile_with
from nova_lite.services.wiring import Looks
from nova_lite.wire.decode import is_uuid

LOG = logging.getLogger(__name__)


class Ports:
    """The ports of servers on this host.

    ``attachments`` attaches and detaches single ones, ``fixed_ips`` changes their addresses,
    ``bindings`` has those of single ports to several hosts, ``host_bindings`` switches a server's.

    :param neutron: access to Neutron
    :param conf: the options; [neutron] ovs_bridge and flat_injected are read
    """

    def __init__(self, neutron: Neutron, conf: Any, clock: Clock = SYSTEM) -> None:
        self._neutron = neutron
        self._conf = conf
        self._clock = clock
        self._rights = ProvenRights(clock)
        self.attachments = PortAttachments(neutron, conf)
        self.fixed_ips = FixedIps(neutron)
        self.bindings = PortBindings(neutron)
        self.host_bindings = HostBindings(neutron, self.bindings)
        self._reads = RequestReads(clock)
        self._looks = Looks(clock)

    def warm_up(self) -> None:
        """Fetch the tokens that the first call of Neutron needs.

        :raises ControlPlaneUnavailable, CredentialsInvalid: it would fail
        """
        self._neutron.warm_up()

    def read_ahead(self, context: Any, requests: Iterable[PortRequest]) -> None:
        """Read the networks that a request names; the first ``allocate`` finds them read.

        :raises NetworkUnavailable: Neutron does not answer
        """
        networks = {item.network_id for item in requests if item.network_id}
        named = {network for network in networks if is_uuid(network)}
        read_around(self._neutron.admin(context), self._reads.of(context), named, ())

    def allocate(
        self,
        context: Any,
        server: Server,
        requests: Sequence[PortRequest],
        security_groups: Sequence[str],
        host: str,
        *,
        first: bool = False,
        providers: Providers | None = None,
    ) -> list[Vif]:
        """Create or adopt the requested ports and bind them to ``host``, in the request's order.

        May be repeated: ports that an earlier try made are found and kept, surplus ones removed. A
        try that fails leaves its ports for ``deallocate``.

        :param requests: see PortRequest; none at all asks for the project's only network
        :param security_groups: ids or names, for the ports made here
        :param host: nova.conf's host, as Neutron's agents know it
        :param first: nobody has tried before, so that there is nothing to look for, and what was
            read for the request is new enough
        :param providers: what serves ports with a guaranteed rate: see ``services.port_resources``
        :raises NetworkRequestInvalid: or a child of it: the request cannot be fulfilled anywhere
        :raises PortBindingFailed: Neutron cannot serve a port on this host
        :raises NetworkUnavailable: Neutron does not answer
        """
        around = self._reads.of(context) if first else Surroundings()
        resolver = Resolver(self._neutron, context, server, around)
        resolved = resolver.resolve(requests)
        if not resolved:
            return []
        groups = resolver.security_groups(security_groups)
        check_groups(around, resolved, groups)
        work = Allocation(
            self._neutron, self._rights, context, server, around, groups, host, self._clock,
            providers or {},
        )  # fmt: skip
        ports, _ = side_by_side(
            [
                lambda: work.run(resolved, resolver.ports, first=first),
                lambda: self._read_around(context, around, resolved),
            ]
        )
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
        ports = admin.ports(device_id=server_uuid, fields=fields)
        kept = [port for port in ports if port["id"] in preserved]
        around = Surroundings()
        around.add_networks(admin, {port["network_id"] for port in kept if "dns_name" in port})

        def let_go(port: dict[str, Any]) -> errors.NovaLiteError | None:
            try:
                if port["id"] in preserved:
                    take_from_server(self._neutron, context, port, around)
                else:
                    admin.delete_port(port["id"])
            except errors.PortNotFound:
                return None
            except errors.NovaLiteError as exc:  # the others are let go all the same
                LOG.warning("Port %s of server %s: %s", port["id"], server_uuid, exc)
                return exc
            return None

        for failure in filter(None, side_by_side([partial(let_go, port) for port in ports])):
            raise failure

    def bind(
        self,
        context: Any,
        server: Server,
        known: Sequence[Vif],
        host: str,
        providers: Providers | None = None,
    ) -> list[Vif]:
        """Bind the ports that a server has to ``host``; returns them as ``refresh`` does.

        Ports that are bound there stay as they are.

        :param providers: as for ``allocate``; None: ports keep those that they have
        :raises PortResourcesUnknown: there is none for a port with a guaranteed rate
        :raises PortBindingFailed: Neutron cannot serve a port on this host
        :raises NetworkUnavailable: Neutron does not answer
        """
        admin = self._neutron.admin(context)
        for port in admin.ports(device_id=server.uuid):
            bound = port.get("binding:host_id") == host
            if not bound or port.get("binding:vif_type") in UNBOUND:
                values: dict[str, Any] = {
                    "binding__host_id": host, "device_owner": owner_of(server),
                }  # fmt: skip
                profile = None if providers is None else profile_with(port, providers)
                if profile is not None:
                    values["binding__profile"] = profile
                admin.update_port(port["id"], **values)
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
                    port["id"], binding__host_id=None, binding__profile=without_ours(port)
                )
            except errors.PortNotFound:
                continue

    def hand_back(self, context: Any, server: Server, host: str, before: str) -> None:
        """Bind the ports that are bound to ``host`` to the host that had them before.

        :raises NetworkUnavailable: Neutron does not answer
        """
        admin = self._neutron.admin(context)
        for port in admin.ports(device_id=server.uuid, fields=("id", "binding:host_id")):
            if port.get("binding:host_id") == host:
                admin.update_port(port["id"], binding__host_id=before)

    def announce_move(self, context: Any, server_uuid: str, host: str | None) -> None:
        """Say in the active bindings of a server's ports that it moves to ``host`` while it runs,
        or (None) that it does not; see ``services.port_bindings``."""
        say_migrating(self._neutron.admin(context), server_uuid, host)

    def refresh(
        self,
        context: Any,
        server_uuid: str,
        known: Sequence[Vif],
        *,
        only: str | None = None,
        beside: Container[str] | None = (),
        sparing: bool = False,
    ) -> list[Vif]:
        """The interfaces as Neutron describes them now, in their order.

        What only we know (``preserve``, ``tag``, ``queues``, ``meta``) is carried over. A port that
        is gone from the server is left out; when nothing is known (a lost cache), all ports of the
        server are found again.

        :param only: refresh this port, leave the others as they are; if it is gone it stays too,
            because its host side is still to be removed
        :param beside: ports that are added where the server has them, though they are not known;
            None: all that it has
        :param sparing: networks and subnets of ports that are as known are taken to be as known
        """
        admin, around = self._neutron.admin(context), Surroundings()
        asked = [vif for vif in known if only in (None, vif.id)]
        networks = set() if sparing else {vif.network.id for vif in asked}
        rows, _ = side_by_side(
            [
                lambda: admin.ports(device_id=server_uuid),
                lambda: read_around(admin, around, networks, [vif.id for vif in asked]),
            ]
        )
        current = {row["id"]: row for row in sorted(rows, key=age)}
        wanted = _wanted(current, known, only, beside)
        same = self._as_known(asked, current, around) if sparing else {}
        fresh = same | {
            vif.id: vif
            for vif in self.network_info(
                context,
                [current[port_id] for port_id in current if port_id in wanted - same.keys()],
                around,
                asked,
            )
        }
        result = []
        for vif in known:
            if vif.id in fresh:
                result.append(_carry_over(vif, fresh.pop(vif.id)))
            elif only is not None:
                result.append(vif)
        return result + list(fresh.values())

    def changed(
        self, context: Any, servers: Mapping[str, Sequence[Vif] | None], host: str
    ) -> set[str]:
        """The servers whose caches do not show what Neutron has; see ``services.port_changes``."""
        return set(port_changes.changed(self._neutron.admin(context), servers, host))

    def older(self, context: Any, server_uuid: str, moment: str | None) -> set[str]:
        """The server's ports that were made before ``moment``, such as the server's own making.

        Where the network cache is lost, these are the ones that surely were not made for it.
        """
        return port_changes.older(self._neutron.admin(context), server_uuid, moment)

    def gone(self, context: Any, port_ids: Iterable[str]) -> set[str]:
        """Those of the ports that were deleted; one that is somebody else's by now was not."""
        wanted = set(port_ids)
        if not wanted:
            return set()
        rows = self._neutron.admin(context).ports(id=sorted(wanted), fields=("id",))
        return wanted - {row["id"] for row in rows}

    def active(self, context: Any, server_uuid: str, *, within: float = 0.0) -> set[str]:
        """Ids of the server's ports that are wired up, or never will be: see ``Vif.active``.

        :param within: seconds; what was looked up so lately is new enough
        """

        def look(servers: list[str]) -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            fields = ("id", "device_id", "status", "admin_state_up")
            for row in self._neutron.admin(context).ports(device_id=servers, fields=fields):
                if is_active(row):
                    found.setdefault(row["device_id"], set()).add(row["id"])
            return found

        return self._looks.at(server_uuid, within, look)

    def security_groups(self, context: Any, server_uuid: str) -> list[str]:
        """Names of the security groups of a server's ports, one per port and group; the id of a
        group without a name."""
        admin = self._neutron.admin(context)
        rows = admin.ports(device_id=server_uuid, fields=("security_groups",))
        wanted = [group for row in rows for group in row.get("security_groups") or ()]
        if not wanted:
            return []
        found = admin.security_groups(id=wanted, fields=("id", "name"))
        names = {group["id"]: group.get("name") or group["id"] for group in found}
        return [names[group] for group in wanted if group in names]

    def network_info(
        self,
        context: Any,
        ports: Sequence[dict[str, Any]],
        around: Surroundings,
        asked: Iterable[Vif],
    ) -> list[Vif]:
        """Interfaces made from ports as an administrator sees them.

        :param around: what was read of what the ports refer to; the rest is read now
        :param asked: interfaces whose floating addresses were read
        :raises PortBindingFailed: Neutron could not bind one of them
        """
        read_around(
            self._neutron.admin(context),
            around,
            unread_networks(ports, around),
            {port["id"] for port in ports} - {vif.id for vif in asked},
        )
        return [self._vif(port, around) for port in ports]

    def _as_known(
        self, known: Iterable[Vif], ports: Mapping[str, dict[str, Any]], around: Surroundings
    ) -> dict[str, Vif]:
        """Those of the interfaces whose ports are as they describe them, by id."""
        bridge = self._conf.neutron.ovs_bridge
        return {
            vif.id: replace(vif, active=is_active(ports[vif.id]))
            for vif in known
            if vif.id in ports and is_as_known(vif, ports[vif.id], around, bridge)
        }

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
        networks = {str(request.network_id) for request in requests}
        # A port made just now has no floating address.
        given = [item.port_id for item in requests if item.port_id]
        read_around(self._neutron.admin(context), around, networks, given)


def _wanted(
    current: Collection[str], known: Sequence[Vif], only: str | None, beside: Container[str] | None
) -> set[str]:
    """Those of a server's ports that are to be refreshed; see ``Ports.refresh``."""
    if only is not None:
        return {only} & set(current)
    if not known or beside is None:
        return set(current)
    ids = {vif.id for vif in known}
    return {port_id for port_id in current if port_id in ids or port_id in beside}


def _carry_over(old: Vif, new: Vif) -> Vif:
    meta = {**old.meta, **new.meta}
    return replace(new, preserve=old.preserve, tag=old.tag, queues=old.queues, meta=meta)
