"""Ports that ask for a guaranteed bandwidth or packet rate, and what they get from Placement.

Neutron says in a port's ``resource_request`` what it asks for: one group of resources, or with the
API extension port-resource-request-groups several ones with ids of their own. Placement has what a
host can give in resource providers that Neutron's agents report below the host's own one. Whoever
binds the port tells Neutron in ``binding:profile``, key ``allocation``, which provider serves each
group: the provider's uuid, or a dict of group id -> uuid.

For a boot, an unshelve or a move the scheduler has chosen the providers, and the request spec has
them. For a port that is attached to a server they are asked for here.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_vifs import profile_of
from nova_lite.clients.placement import ATTEMPTS, GenerationConflict, Placement
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

ALLOCATION = "allocation"
NETWORK_CLASSES = "NET_"  # how the names of resource classes begin that ports ask for
FIELDS = ("id", "binding:profile", "resource_request")
CANDIDATES = 10  # how many of Placement's suggestions are looked at

# Group id, or port id -> the providers that serve it.
Providers = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Group:
    """Resources that one provider has to give: class -> amount, and the traits it must have."""

    id: str
    resources: Mapping[str, int]
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a port asks for; ``extended`` says in which form Neutron wants to know the providers.

    ``same_subtree`` are the ids of groups whose providers must have a common one above them.
    """

    groups: tuple[Group, ...] = ()
    extended: bool = False
    same_subtree: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.groups)


def request_of(port: Mapping[str, Any]) -> Request:
    """What a port, as an administrator sees it, asks for; most ask for nothing."""
    asked = port.get("resource_request") or {}
    if "request_groups" in asked:
        groups = (
            Group(str(row["id"]), row["resources"], tuple(row.get("required") or ()))
            for row in asked["request_groups"] or ()
        )
        return Request(tuple(groups), True, tuple(asked.get("same_subtree") or ()))
    if not asked.get("resources"):
        return Request()
    required = tuple(asked.get("required") or ())
    return Request((Group(str(port["id"]), asked["resources"], required),))


def providers_of(request_spec: WireObject | None) -> dict[str, list[str]]:
    """The providers that the scheduler has chosen, as a request spec has them."""
    groups = request_spec.get("requested_resources") if request_spec is not None else None
    return {
        str(group["requester_id"]): [str(uuid) for uuid in group.get("provider_uuids") or ()]
        for group in groups or ()
        if group.get("requester_id")
    }


def profile_with(port: Mapping[str, Any], providers: Providers) -> dict[str, Any] | None:
    """The port's binding profile with its providers; None where it asks for no resources.

    :raises PortResourcesUnknown: nobody has chosen a provider
    """
    request = request_of(port)
    if not request:
        return None
    chosen = {group.id: next(iter(providers.get(group.id) or ()), None) for group in request.groups}
    if None in chosen.values():
        raise errors.PortResourcesUnknown(
            f"Port update failed for port {port['id']}: it has a guaranteed bandwidth or packet "
            "rate, and the request does not say which resource provider is to give it. Was its QoS "
            "policy changed while the server was scheduled? Try again"
        )
    told = chosen if request.extended else next(iter(chosen.values()))
    return {**profile_of(port), ALLOCATION: told}


def claims(port: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """(provider, resource class, amount) of what a bound port has."""
    told = profile_of(port).get(ALLOCATION)
    for group in request_of(port).groups:
        provider = told.get(group.id) if isinstance(told, dict) else told
        if provider:
            for resource_class, amount in group.resources.items():
                yield str(provider), resource_class, int(amount)


class PortResources:
    """What the ports of servers hold in Placement.

    Nothing is remembered: what a server holds beside what its bound ports have is what a port that
    is being attached has got, or what a port that is gone has left. So both methods may be
    repeated. Ports of one server must not be attached and detached at the same time.
    """

    def __init__(self, neutron: Neutron, placement: Placement) -> None:
        self._neutron = neutron
        self._placement = placement

    def claim(
        self, context: Any, server_uuid: str, port: Mapping[str, Any], root: str
    ) -> dict[str, list[str]]:
        """Add to what a server holds what a port asks for; the port is bound with it afterwards.

        :param port: as an administrator sees it, not bound yet
        :param root: uuid of the host's own resource provider
        :return: group id -> provider, as for ``Ports.allocate``; empty: the port asks for nothing
        :raises InterfaceAttachResourceAllocationFailed: the host has not got that much left
        :raises ControlPlaneUnavailable: Placement does not answer
        """
        request = request_of(port)
        if not request:
            return {}
        for _ in range(ATTEMPTS):
            held = self._placement.allocations(server_uuid)
            if not held["allocations"]:
                break  # the server is gone, or never was here
            spare = _less(held, self._of_ports(context, server_uuid, but=str(port["id"])))
            found = _claimed_earlier(request, spare)
            if found is not None:
                return found
            for candidate in self._candidates(request, root):
                if self._add(server_uuid, held, candidate["allocations"]):
                    mappings = candidate["mappings"].items()
                    return {name: list(uuids) for name, uuids in mappings if name}
        raise errors.InterfaceAttachResourceAllocationFailed(
            f"Failed to allocate additional resources to {server_uuid} during interface attach: "
            f"this host has not got what port {port['id']} asks for ({_in_words(request)})"
        )

    def serving(self, context: Any, server_uuid: str) -> dict[str, list[str]]:
        """The providers that serve a server's ports, by what it holds; as for ``Ports.bind``.

        For a server that goes back to a host: it holds what it had there, and the ports still name
        the providers of the other host.

        :raises ControlPlaneUnavailable: Placement does not answer
        """
        spare = _less(self._placement.allocations(server_uuid), {})
        found: dict[str, list[str]] = {}
        ports = self._neutron.admin(context).ports(device_id=server_uuid, fields=FIELDS)
        # The largest first: what it leaves may do for a smaller one, not the other way round.
        for request in sorted(map(request_of, ports), key=_amount, reverse=True):
            found.update(_claimed_earlier(request, spare) or {})
        return found

    def release(
        self, context: Any, server_uuid: str, port_id: str, profile: Mapping[str, Any] | None
    ) -> None:
        """Take from what a server holds what a port has, or had: unbound and deleted ones, too.

        :param profile: the port's binding profile while it was bound, as the network cache has it;
            None: it was not bound yet, and may have claimed something
        :raises ControlPlaneUnavailable: Placement does not answer
        """
        if profile is not None and not profile.get(ALLOCATION):
            return
        for _ in range(ATTEMPTS):
            held = self._placement.allocations(server_uuid)
            ports = self._of_ports(context, server_uuid, but=port_id)
            rest = {
                uuid: _as_ports_have(row["resources"], ports[uuid])
                for uuid, row in held["allocations"].items()
            }
            if all(rest[uuid] == row["resources"] for uuid, row in held["allocations"].items()):
                return
            if self._put(server_uuid, held, rest):
                return
        raise GenerationConflict(
            f"what port {port_id} had could not be taken from the allocations of {server_uuid}: "
            f"others changed them {ATTEMPTS} times; 'nova-manage placement audit' shows it"
        )

    def _of_ports(self, context: Any, server_uuid: str, *, but: str) -> dict[str, dict[str, int]]:
        """Provider -> resource class -> what the bound ports of a server have."""
        found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for port in self._neutron.admin(context).ports(device_id=server_uuid, fields=FIELDS):
            if port["id"] == but:
                continue
            for provider, resource_class, amount in claims(port):
                found[provider][resource_class] += amount
        return found

    def _candidates(self, request: Request, root: str) -> Iterable[Mapping[str, Any]]:
        query: list[tuple[str, Any]] = [("limit", CANDIDATES), ("group_policy", "none")]
        for group in request.groups:
            resources = ",".join(f"{name}:{count}" for name, count in group.resources.items())
            query += [(f"resources{group.id}", resources), (f"in_tree{group.id}", root)]
            if group.required:
                query.append((f"required{group.id}", ",".join(group.required)))
        if request.same_subtree:
            query.append(("same_subtree", ",".join(request.same_subtree)))
        return self._placement.candidates(urlencode(query))

    def _add(
        self, server_uuid: str, held: Mapping[str, Any], more: Mapping[str, Mapping[str, Any]]
    ) -> bool:
        wanted = {uuid: dict(row["resources"]) for uuid, row in held["allocations"].items()}
        for uuid, row in more.items():
            mine = wanted.setdefault(uuid, {})
            for resource_class, amount in row["resources"].items():
                mine[resource_class] = mine.get(resource_class, 0) + amount
        return self._put(server_uuid, held, wanted)

    def _put(
        self, server_uuid: str, held: Mapping[str, Any], wanted: Mapping[str, Mapping[str, int]]
    ) -> bool:
        """Whether the server holds ``wanted`` now; False: others changed it, or took the rest."""
        try:
            self._placement.put_allocations(
                server_uuid,
                {uuid: {"resources": row} for uuid, row in wanted.items() if row},
                project_id=held["project_id"],
                user_id=held["user_id"],
                consumer_generation=held["consumer_generation"],
            )
        except GenerationConflict as error:
            LOG.info("Server %s: %s", server_uuid, error)
            return False
        return True


def _less(
    held: Mapping[str, Any], ports: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """What is held beside what ports have."""
    return {
        uuid: {
            name: amount - ports.get(uuid, {}).get(name, 0)
            for name, amount in row["resources"].items()
        }
        for uuid, row in held["allocations"].items()
    }


def _as_ports_have(held: Mapping[str, int], ports: Mapping[str, int]) -> dict[str, int]:
    """What is to be held of a provider: of networks what ports have, of other classes as before."""
    others = {name: amount for name, amount in held.items() if not name.startswith(NETWORK_CLASSES)}
    return {**others, **ports}


def _claimed_earlier(
    request: Request, spare: dict[str, dict[str, int]]
) -> dict[str, list[str]] | None:
    """The providers that gave what no port has, as far as it suffices for a request."""
    found = {}
    for group in request.groups:
        for uuid, row in spare.items():
            if all(row.get(name, 0) >= amount for name, amount in group.resources.items()):
                for name, amount in group.resources.items():
                    row[name] -= amount
                found[group.id] = [uuid]
                break
        else:
            return None
    return found


def _amount(request: Request) -> int:
    return sum(count for group in request.groups for count in group.resources.values())


def _in_words(request: Request) -> str:
    return ", ".join(
        f"{name} {amount}" for group in request.groups for name, amount in group.resources.items()
    )
