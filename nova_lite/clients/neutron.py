"""Neutron, only the calls a compute host makes; its refusals as errors of ours.

https://docs.openstack.org/api-ref/network/v2/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nova_lite import errors
from nova_lite.clients.rest import answering, token_expired
from nova_lite.clients.session import Sessions

GROUP = "neutron"
IDS_PER_CALL = 100  # an id takes 40 bytes of the URL, which servers limit to about 8 KiB

# What Neutron's error types mean (neutron-lib's exception names, sent as NeutronError.type).
_ERRORS: dict[str, type[errors.NovaLiteError]] = {
    "IpAddressInUse": errors.FixedIpInUse,
    "IpAddressAlreadyAllocated": errors.FixedIpInUse,
    "IpAddressGenerationFailure": errors.NoMoreFixedIps,
    "InvalidIpForNetwork": errors.FixedIpInvalid,
    "OverQuota": errors.PortLimitExceeded,
    "MacAddressInUse": errors.PortInUse,
    "PortInUse": errors.PortInUse,
    "PortNotFound": errors.PortNotFound,
    "NetworkNotFound": errors.NetworkNotFound,
    "SecurityGroupNotFound": errors.SecurityGroupNotFound,
    "InvalidIpForSubnet": errors.FixedIpInvalid,
    "HostNotCompatibleWithFixedIps": errors.FixedIpInvalidOnHost,
    "PortBindingNotFound": errors.PortBindingNotFound,
    "PortBindingAlreadyActive": errors.PortBindingExists,
    "PortBindingAlreadyExists": errors.PortBindingExists,
    "PortBindingError": errors.PortBindingFailed,
}


class Neutron:
    """Access to Neutron: as the agent (``admin``) or as the user who asked (``user``).

    :param sessions: where adapters come from
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def warm_up(self) -> None:
        """Fetch the tokens that the first call needs; see ``Sessions.warm_up``."""
        self._sessions.warm_up(GROUP)

    def admin(self, context: Any = None) -> Api:
        """Calls with the credentials of [neutron]; only they may bind ports to hosts."""
        return Api(self._sessions.service(GROUP, "network", context))

    def user(self, context: Any, *, fall_back: bool = True) -> Api:
        """Calls with the user's token, so that Neutron's policies see the user.

        :param fall_back: False for calls that make something: no other credentials then
        :raises RequestTokenExpired: with ``fall_back`` False, where the request has no token
        """
        return Api(self._sessions.user(GROUP, "network", context, fall_back=fall_back))


class Api:
    """Neutron's REST calls through one adapter.

    Every method may raise NetworkUnavailable (no answer, or a server error), CredentialsInvalid,
    RequestTokenExpired, and the child of NetworkRequestInvalid that a refusal means.
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def ports(self, *, fields: Iterable[str] = (), **filters: Any) -> list[dict[str, Any]]:
        """Ports that match; a filter with several values matches any of them.

        Colons of attribute names are written as double underscores (``binding__host_id``).
        """
        return self._list("ports", fields, filters)

    def networks(self, *, fields: Iterable[str] = (), **filters: Any) -> list[dict[str, Any]]:
        """Networks that the caller may see."""
        return self._list("networks", fields, filters)

    def subnets(self, *, fields: Iterable[str] = (), **filters: Any) -> list[dict[str, Any]]:
        """Subnets that the caller may see."""
        return self._list("subnets", fields, filters)

    def security_groups(
        self, *, fields: Iterable[str] = (), **filters: Any
    ) -> list[dict[str, Any]]:
        """Security groups that the caller may see."""
        return self._list("security-groups", fields, filters)

    def floating_ips(self, *, fields: Iterable[str] = (), **filters: Any) -> list[dict[str, Any]]:
        """Floating addresses; none where Neutron has no router service."""
        try:
            return self._list("floatingips", fields, filters)
        except errors.NetworkResourceNotFound:
            return []

    def auto_allocated_network(self, project_id: str) -> str:
        """Id of the network that Neutron makes for a project that has none.

        :raises NetworkRequestInvalid: Neutron has nothing to make it from
        """
        path = f"auto-allocated-topology/{project_id}"
        return self._call("GET", path)["auto_allocated_topology"]["id"]

    def create_port(self, **values: Any) -> dict[str, Any]:
        """Create a port. Never repeated by itself: after NetworkUnavailable it may exist or not."""
        once = {"connect_retries": 0, "status_code_retries": 0}
        return self._call("POST", "ports", json={"port": _colons(values)}, **once)["port"]

    def update_port(
        self, port_id: str, *, revision: int | None = None, **values: Any
    ) -> dict[str, Any]:
        """Change a port; returns it as it is then.

        :param revision: its ``revision_number`` as it was read; None: whatever it is by now
        :raises PortChanged: it has another one
        """
        body = {"port": _colons(values)}
        condition = {"If-Match": f"revision_number={revision}"} if revision is not None else {}
        return self._call("PUT", f"ports/{port_id}", json=body, headers=condition)["port"]

    def delete_port(self, port_id: str) -> bool:
        """Delete a port; False when it was gone already."""
        try:
            self._call("DELETE", f"ports/{port_id}")
        except errors.PortNotFound:
            return False
        return True

    # Bindings of one port to several hosts (extension binding-extended), one of which is active:
    # https://docs.openstack.org/api-ref/network/v2/#port-binding
    def port_bindings(self, port_id: str) -> list[dict[str, Any]]:
        """A port's bindings: ``host``, ``status`` (ACTIVE, INACTIVE), ``vif_type``, ``profile``.

        :raises PortNotFound: the port is gone
        """
        return list(self._call("GET", f"ports/{port_id}/bindings")["bindings"])

    def create_port_binding(self, port_id: str, host: str, **values: Any) -> dict[str, Any]:
        """Bind a port to one more host; inactive, unless it is the only binding.

        :param values: ``vnic_type`` and ``profile`` on that host
        :raises PortBindingExists: it has one there
        :raises PortBindingFailed: Neutron cannot serve the port there
        """
        body = {"binding": {"host": host, **values}}
        return self._call("POST", f"ports/{port_id}/bindings", json=body)["binding"]

    def activate_port_binding(self, port_id: str, host: str) -> bool:
        """Make the binding to a host the active one; False when it was already.

        :raises PortBindingNotFound: the port has none there
        """
        try:
            self._call("PUT", f"ports/{port_id}/bindings/{host}/activate")
        except errors.PortBindingExists:
            return False
        return True

    def delete_port_binding(self, port_id: str, host: str) -> bool:
        """Take a port from a host, also where that has the active binding; False without one."""
        try:
            self._call("DELETE", f"ports/{port_id}/bindings/{host}")
        except (errors.PortBindingNotFound, errors.PortNotFound):
            return False
        return True

    def _list(
        self, resource: str, fields: Iterable[str], filters: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        params = _colons(filters)
        if "id" not in params:
            return self._page(resource, fields, params)
        ids = params.pop("id")
        ids = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), IDS_PER_CALL):
            chunk = ids[start : start + IDS_PER_CALL]
            found += self._page(resource, fields, {**params, "id": chunk})
        return found

    def _page(
        self, resource: str, fields: Iterable[str], params: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        # Neutron has no other page limit by itself than the one an operator sets; it then names
        # the next page in <resource>_links.
        key = resource.replace("-", "_")
        query = {**params, **({"fields": list(fields)} if fields else {})}
        answer = self._call("GET", resource, params=query)
        rows = list(answer[key])
        while following := _next(answer.get(f"{key}_links")):
            answer = self._call("GET", f"{resource}?{following}")
            rows += answer[key]
        return rows

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        with answering("Neutron", f"{method} {path}", errors.NetworkUnavailable):
            answer = self._adapter.request(f"/v2.0/{path}", method, raise_exc=False, **kwargs)
        if token_expired(self._adapter, answer):
            raise errors.RequestTokenExpired("Neutron")
        if answer.status_code >= 400:
            raise _refusal(answer, method, path.partition("?")[0])
        return answer.json() if answer.content else {}


def _refusal(answer: Any, method: str, path: str) -> errors.NovaLiteError:
    """The error that an HTTP error of Neutron means."""
    kind, message = "", answer.reason
    try:
        body = answer.json()["NeutronError"]
        kind, message = body["type"], body["message"]
    except (ValueError, KeyError, TypeError):
        pass  # not Neutron's own form: a proxy's page, or a string
    status = answer.status_code
    text = f"Neutron refuses {method} {path}: {message} (HTTP {status})"
    if kind in _ERRORS:
        return _ERRORS[kind](text)
    if status == 412:
        return errors.PortChanged(text)
    if status == 401:
        return errors.CredentialsInvalid(f"{text}: check the credentials of [{GROUP}]")
    if status == 404:
        found = errors.PortNotFound if path.startswith("ports/") else errors.NetworkResourceNotFound
        return found(text)
    if status >= 500 or status in (408, 429):
        return errors.NetworkUnavailable(text)
    return errors.NetworkRequestInvalid(text)


def _next(links: Iterable[Mapping[str, str]] | None) -> str | None:
    """Query string of the following page, if there is one."""
    for link in links or ():
        if link.get("rel") == "next":
            return link["href"].partition("?")[2]
    return None


def _colons(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("__", ":"): value for key, value in values.items()}
