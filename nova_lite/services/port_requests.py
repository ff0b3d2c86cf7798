"""Which networks and ports a user asked for, and whether they may be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_vifs import NETWORK_FIELDS, Surroundings, ensure_bound
from nova_lite.model.server import Server
from nova_lite.services.port_reads import side_by_side
from nova_lite.wire.decode import is_uuid

AUTO = "auto"  # network_id that asks for the project's network, made when there is none
NONE = "none"  # network_id that asks for no network at all


@dataclass(frozen=True)
class PortRequest:
    """One entry of the request: a port that exists, or a network to make a port on.

    Neither of them: the only network that the project can use.
    """

    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


def port_requests(entries: Iterable[Mapping[str, Any]]) -> list[PortRequest]:
    """The entries of a NetworkRequestList (objects with ``get``).

    :raises UnsupportedByHost: one needs a PCI device or an accelerator
    """
    found = []
    for entry in entries:
        if entry.get("pci_request_id") or entry.get("arq_uuid") or entry.get("device_profile"):
            raise errors.UnsupportedByHost(
                f"port {entry.get('port_id')} or network {entry.get('network_id')} needs a PCI "
                "device or an accelerator, which this agent cannot attach to ports yet: use a "
                "port with vnic_type normal"
            )
        address = entry.get("address")
        found.append(
            PortRequest(
                network_id=entry.get("network_id"),
                port_id=entry.get("port_id"),
                fixed_ip=str(address) if address else None,
                tag=entry.get("tag"),
            )
        )
    return found


class Resolver:
    """Fills in what a request leaves open, and refuses what cannot be used, as stock nova does.

    :param neutron: access to Neutron
    :param context: the request: its user's rights count
    :param server: who the ports are for
    :param around: receives the networks that were read
    """

    def __init__(
        self, neutron: Neutron, context: Any, server: Server, around: Surroundings
    ) -> None:
        self._neutron = neutron
        self._context = context
        self._server = server
        self._around = around
        self.ports: dict[str, dict[str, Any]] = {}

    def resolve(self, requests: Sequence[PortRequest]) -> list[PortRequest]:
        """The requests with their networks; the ports asked for are in ``self.ports`` then.

        :raises NetworkRequestInvalid: or a child of it, for what cannot be used
        """
        if any(request.network_id == NONE for request in requests):
            return []
        if any(request.port_id for request in requests):
            self._read_ports([request.port_id for request in requests if request.port_id])
        if not requests or (len(requests) == 1 and _unspecified(requests[0])):
            network_id = self._only_network(list(requests))
            if network_id is None:
                return []
            asked = requests[0] if requests else PortRequest()
            resolved = [replace(asked, network_id=network_id)]
        else:
            resolved = [self._with_network(request) for request in requests]
        self._around.add_networks(
            self._neutron.admin(self._context), [str(item.network_id) for item in resolved]
        )
        self._check_networks(resolved)
        return resolved

    def security_groups(self, names: Sequence[str]) -> list[str]:
        """Ids of security groups given by id or name; the default group needs no mention.

        Ids go unchecked: Neutron refuses those that the user may not use.
        """
        wanted = [name for name in names if name]
        if not wanted or wanted == ["default"]:
            return []
        if all(is_uuid(name) for name in wanted):
            return wanted
        user = self._neutron.user(self._context)
        fields = ("id", "name")
        rows = user.security_groups(tenant_id=self._server.project_id, fields=fields)
        if any(not _matches(name, rows) for name in wanted):
            rows += user.security_groups(shared=True, fields=fields)
        return [_one_group(name, rows) for name in wanted]

    def _read_ports(self, port_ids: Sequence[str]) -> None:
        # As administrator: only then bindings and resource requests are told.
        rows = self._neutron.admin(self._context).ports(id=port_ids)
        self.ports = {row["id"]: row for row in rows}
        for port_id in port_ids:
            self._check_port(port_id, self.ports.get(port_id))

    def _check_port(self, port_id: str, port: Mapping[str, Any] | None) -> None:
        server = self._server
        if port is None:
            raise errors.PortNotFound(f"Port {port_id} could not be found.")
        if port.get("tenant_id") != server.project_id:
            raise errors.PortNotUsable(f"Port {port_id} not usable for instance {server.uuid}.")
        if port.get("device_id") not in ("", None, server.uuid):
            raise errors.PortInUse(f"Port {port_id} is still in use.")
        if port.get("dns_name") and port["dns_name"] != server.hostname:
            raise errors.PortNotUsableDns(
                f"Port {port_id} not usable for instance {server.uuid}. Value {port['dns_name']} "
                f"assigned to dns_name attribute does not match instance's hostname "
                f"{server.hostname}"
            )
        if port.get("device_id") != server.uuid:
            ensure_bound(port)

    def _with_network(self, request: PortRequest) -> PortRequest:
        if request.port_id:
            return replace(request, network_id=self.ports[request.port_id]["network_id"])
        if not request.network_id:
            raise errors.NetworkAmbiguous(
                "A request for several interfaces names neither network nor port for one of them."
            )
        return request

    def _only_network(self, requests: list[PortRequest]) -> str | None:
        auto = bool(requests) and requests[0].network_id == AUTO
        user, project = self._neutron.user(self._context), self._server.project_id
        own: dict[str, Any] = {"tenant_id": project, "shared": False}
        if auto:  # networks still being set up by Neutron are down
            own["admin_state_up"] = True
        mine, shared = side_by_side(
            [
                lambda: user.networks(fields=("id",), **own),
                lambda: user.networks(fields=("id",), shared=True),
            ]
        )
        found = sorted({row["id"] for row in mine + shared})
        if len(found) > 1:
            raise errors.NetworkAmbiguous(
                "Multiple possible networks found, use a Network ID to be more specific."
            )
        if found:
            return found[0]
        if auto:
            return self._auto_allocate(project)
        if requests:
            raise errors.NoNetworkAvailable(
                f"No specific network was requested and none are available for project '{project}'."
            )
        return None

    def _auto_allocate(self, project: str) -> str:
        user = self._neutron.user(self._context, fall_back=False)
        try:
            return user.auto_allocated_network(project)
        except errors.NetworkRequestInvalid as exc:
            raise errors.AutoAllocationFailed(
                f"Unable to automatically allocate a network for project {project}"
            ) from exc

    def _check_networks(self, requests: Sequence[PortRequest]) -> None:
        for request in requests:
            network = self._around.networks.get(str(request.network_id))
            if network is None:
                raise errors.NetworkNotFound(f"Network {request.network_id} could not be found.")
            if network.get("port_security_enabled", True) and not network.get("subnets"):
                raise errors.SecurityGroupCannotBeApplied(
                    f"Network {network['id']} requires port_security_enabled and subnet "
                    "associated in order to apply security groups."
                )
            if network.get("router:external") and not network.get("shared"):
                self._check_external(network["id"])

    def _check_external(self, network_id: str) -> None:
        """Only administrators attach servers to an external network not shared with them."""
        if self._context.is_admin:
            return
        # "shared" may be true for this user only.
        rows = self._neutron.user(self._context).networks(id=network_id, fields=NETWORK_FIELDS)
        if not any(row.get("shared") for row in rows):
            raise errors.ExternalNetworkForbidden(
                f"It is not allowed to create an interface on external network {network_id}"
            )


def _unspecified(request: PortRequest) -> bool:
    return request.port_id is None and request.network_id in (None, AUTO)


def _matches(name: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    by_id = [row["id"] for row in rows if row["id"] == name]
    return by_id or sorted({row["id"] for row in rows if row["name"] == name})


def _one_group(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    found = _matches(name, rows)
    if not found:
        raise errors.SecurityGroupNotFound(f"Security group {name} not found.")
    if len(found) > 1:
        raise errors.SecurityGroupAmbiguous(
            f"Multiple security groups found matching '{name}'. Use an ID to be more specific."
        )
    return found[0]
