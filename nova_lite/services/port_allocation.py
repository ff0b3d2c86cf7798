"""Repeatable creation and binding of a server's ports."""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import Any

from nova_lite import errors
from nova_lite.clients.neutron import Api, Neutron
from nova_lite.clients.neutron_vifs import Surroundings, age, ensure_bound, profile_of
from nova_lite.clock import Clock
from nova_lite.model.server import Server
from nova_lite.services.port_reads import side_by_side
from nova_lite.services.port_requests import PortRequest
from nova_lite.services.port_resources import Providers, profile_with, request_of

CREATE_TRIES = 3
CREATE_PAUSE_S = 1.0
RIGHTS_S = 600.0  # how long a user's proven right to make a port on a network counts
DEFAULT_ZONE = "nova"


class Allocation:
    """One run of ``Ports.allocate``: the facts that all ports of the server share."""

    def __init__(
        self,
        neutron: Neutron,
        rights: ProvenRights,
        context: Any,
        server: Server,
        around: Surroundings,
        groups: Sequence[str],
        host: str,
        clock: Clock,
        providers: Providers,
    ) -> None:
        self._rights = rights
        self._admin = neutron.admin(context)
        self._neutron = neutron
        self._context = context
        self._server = server
        self._around = around
        self._groups = list(groups)
        self._host = host
        self._clock = clock
        self._providers = providers

    def run(
        self,
        requests: Sequence[PortRequest],
        asked_for: dict[str, dict[str, Any]],
        *,
        first: bool = False,
    ) -> list[dict[str, Any]]:
        """The bound ports, one for each request.

        :param first: nothing was made earlier
        """
        left = [] if first else self._made_earlier(asked_for)
        found: dict[int, dict[str, Any]] = {}
        by_network: dict[str | None, list[int]] = {}
        for place, request in enumerate(requests):
            by_network.setdefault(request.network_id, []).append(place)
            port = asked_for[request.port_id] if request.port_id else _take(left, request)
            if port is not None:
                found[place] = port

        def finish(places: Sequence[int]) -> None:
            made: list[str] = []
            for place in places:
                port = found.get(place) or self._create(requests[place], {*asked_for, *made})
                found[place] = self._finished(port, requests[place])
                made.append(port["id"])

        # Those on one network in turn: a lost answer must not be taken for another one's.
        side_by_side([partial(finish, places) for places in by_network.values()])
        for surplus in left:
            self._admin.delete_port(surplus["id"])
        return [found[place] for place in range(len(requests))]

    def _finished(self, port: dict[str, Any], request: PortRequest) -> dict[str, Any]:
        port = self._bind(port, preserve=bool(request.port_id))
        if not request.port_id:
            refuse_rate(port, self._server)
        return port

    def _made_earlier(self, known: Container[str]) -> list[dict[str, Any]]:
        rows = self._admin.ports(device_id=self._server.uuid)
        return sorted((row for row in rows if row["id"] not in known), key=age)

    def _create(self, request: PortRequest, known: Container[str]) -> dict[str, Any]:
        """Make a port; an answer that was lost is looked for instead of asking twice.

        :param known: ports of the server on this network that it cannot be
        """
        for left in reversed(range(CREATE_TRIES)):
            try:
                port = self._post(request)
                break
            except errors.NoMoreFixedIps as exc:
                raise errors.NoMoreFixedIps(
                    f"No fixed IP addresses available for network: {request.network_id}"
                ) from exc
            except errors.FixedIpInvalid as exc:
                raise errors.FixedIpInvalid(
                    f"Invalid input received: Fixed IP {request.fixed_ip} is not a valid ip "
                    f"address for network {request.network_id}."
                ) from exc
            except errors.NetworkUnavailable:
                if not left:
                    raise
                self._clock.sleep(CREATE_PAUSE_S)
                found = _take(self._made_earlier(known), request)
                if found is not None:
                    return found
        refuse_rate(port, self._server)
        return port

    def _post(self, request: PortRequest) -> dict[str, Any]:
        """One call where the user's right to make such a port is known, else two.

        Only an administrator may bind, only the user's own call lets Neutron's policies judge the
        user. Binding costs as much as making, so a user who made such a port lately is spared the
        second call.
        """
        values: dict[str, Any] = {
            "network_id": request.network_id,
            "device_id": self._server.uuid,
            "tenant_id": self._server.project_id,
            "admin_state_up": True,
        }
        if self._groups:
            values["security_groups"] = self._groups
        if request.fixed_ip:
            # Whether an address may be chosen is judged apart: no short cut.
            values["fixed_ips"] = [{"ip_address": request.fixed_ip}]
            return self._as_user().create_port(**values)
        right = self._right(request)
        if self._rights.known(right):
            return self._admin.create_port(**values, **self._binding(values))
        port = self._as_user().create_port(**values)
        self._rights.learn(right)
        return port

    def _as_user(self) -> Api:
        """Never the agent, because the token has expired: it may make any port.

        :raises RequestTokenExpired: the request has no token
        """
        return self._neutron.user(self._context, fall_back=False)

    def _right(self, request: PortRequest) -> tuple[Any, ...]:
        context = self._context
        return (
            context.user_id,
            self._server.project_id,
            tuple(sorted(context.roles or ())),
            request.network_id,
            frozenset(self._groups),
        )

    def _binding(self, port: dict[str, Any]) -> dict[str, Any]:
        """What binds the port to the server on this host."""
        network = self._around.networks.get(port["network_id"], {})
        return binding_of(self._server, self._host, network)

    def _bind(self, port: dict[str, Any], *, preserve: bool) -> dict[str, Any]:
        binding = self._binding(port)
        profile = profile_with(port, self._providers) if preserve else None
        if profile is not None:
            binding["binding__profile"] = profile
        bound = (
            port.get("device_id") == self._server.uuid
            and port.get("device_owner") == binding["device_owner"]
            and port.get("binding:host_id") == self._host
            and port.get("binding:vif_type") not in ("unbound", "binding_failed")
            and profile in (None, profile_of(port))
        )
        if not bound:
            # As administrator, who alone is told the binding that the answer holds.
            port = self._admin.update_port(port["id"], device_id=self._server.uuid, **binding)
        ensure_bound(port)
        network = self._around.networks.get(port["network_id"], {})
        name_in_zone(self._neutron.user(self._context), port, network, self._server.hostname)
        return port


class ProvenRights:
    """Users who made a port lately, and where; forgotten after RIGHTS_S seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[tuple[Any, ...], float] = {}

    def known(self, right: tuple[Any, ...]) -> bool:
        with self._lock:
            return self._until.get(right, 0.0) > self._clock.monotonic()

    def learn(self, right: tuple[Any, ...]) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._until = {key: until for key, until in self._until.items() if until > now}
            self._until[right] = now + RIGHTS_S


def owner_of(server: Server) -> str:
    """The ``device_owner`` of a server's ports."""
    return f"compute:{server.availability_zone or DEFAULT_ZONE}"


def binding_of(server: Server, host: str, network: Mapping[str, Any]) -> dict[str, Any]:
    """What binds a port of the network to the server on ``host``."""
    values = {"device_owner": owner_of(server), "binding__host_id": host}
    # The key is there when Neutron's DNS extension is; a network with a domain of its own has names
    # in the user's zone.
    if "dns_domain" in network and not network["dns_domain"]:
        values["dns_name"] = server.hostname
    return values


def _take(left: list[dict[str, Any]], request: PortRequest) -> dict[str, Any] | None:
    """Remove and return the oldest port that the request would have made."""
    for port in left:
        addresses = {address["ip_address"] for address in port.get("fixed_ips") or ()}
        if port["network_id"] == request.network_id and (
            request.fixed_ip is None or request.fixed_ip in addresses
        ):
            left.remove(port)
            return port
    return None


def name_in_zone(
    user: Api, port: Mapping[str, Any], network: Mapping[str, Any], hostname: str
) -> None:
    """Give a port of a network with a domain the server's name.

    :param user: the record lies in the user's zone, so only the user's rights reach it
    :raises InvalidDnsName: Neutron does not take the name
    """
    if not network.get("dns_domain") or port.get("dns_name") == hostname:
        return
    try:
        user.update_port(port["id"], dns_name=hostname)
    except errors.PortNotFound:
        raise
    except errors.NetworkRequestInvalid as error:
        raise errors.InvalidDnsName(
            f"Instance hostname {hostname} is not a valid DNS name: {error}"
        ) from error


def refuse_rate(port: Mapping[str, Any], server: Server) -> None:
    """Refuse a port made here that asks for resources: the scheduler has asked for none.

    Neutron tells of that an administrator alone, so at the latest when the port was bound.

    :raises NetworkWithGuaranteedRate: it does
    """
    if request_of(port):
        raise errors.NetworkWithGuaranteedRate(
            f"Using networks with QoS policy is not supported for instance {server.uuid}. (Network "
            f"ID is {port['network_id']}): create a port first and give its ID"
        )


def check_groups(
    around: Surroundings, requests: Sequence[PortRequest], groups: Sequence[str]
) -> None:
    """Raise where a network takes no security groups.

    :raises SecurityGroupCannotBeApplied: groups were asked for and a network has no port security
    """
    for request in requests:
        network = around.networks[str(request.network_id)]
        if groups and network.get("port_security_enabled") is False:
            raise errors.SecurityGroupCannotBeApplied(
                f"Network {network['id']} requires port_security_enabled and subnet associated in "
                "order to apply security groups."
            )
