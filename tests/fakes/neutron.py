"""A Neutron behind HttpCloud: ports, networks, subnets with the rules that matter to a host."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from tests.fakes.http_cloud import Call, HttpCloud, Reply

ADMIN = "neutron"
PROVIDER = ("provider:physical_network", "provider:network_type", "segments")
BINDING = ("binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details")
OVS_DETAILS = {"ovs_create_tap": True, "bridge_name": "br-int", "datapath_type": "netdev"}


class FakeNeutron:
    """``rows`` holds the resources; ``before`` may answer a call in place of the service.

    Users are projects: the token of user X sees what project X owns and what is shared. Only the
    user ``neutron`` may bind ports and see provider attributes.
    """

    def __init__(self, cloud: HttpCloud) -> None:
        self.cloud = cloud
        self.rows: dict[str, list[dict[str, Any]]] = {
            "ports": [],
            "networks": [],
            "subnets": [],
            "floatingips": [],
            "security-groups": [],
        }
        self.asked: list[str] = []  # ["GET ports by device_id", "POST ports", ...]
        self.before: list[Callable[[Call], Reply | None]] = []
        self.lose_answers = 0  # of POST /ports: the work is done, the answer never comes
        self.lose_updates = 0  # the same of PUT /ports
        self.bindable_hosts = {"host1", "host2"}
        self.dns_extension = True
        self.bridge = "br-int"  # that ports are bound to
        self.quota: dict[str, int] = {}
        self.inactive: dict[str, list[str]] = {}  # port id -> hosts with an inactive binding
        self._clock = itertools.count()
        cloud.services["net"] = ("network", self._serve)

    def network(self, project: str, name: str = "net", **values: Any) -> dict[str, Any]:
        row = {
            "id": str(uuid.uuid4()),
            "name": name,
            "tenant_id": project,
            "mtu": 1442,
            "shared": False,
            "router:external": False,
            "port_security_enabled": True,
            "admin_state_up": True,
            "subnets": [],
            "provider:physical_network": "physnet1",
            "provider:network_type": "vlan",
            **({"dns_domain": ""} if self.dns_extension else {}),
            **values,
        }
        self.rows["networks"].append(row)
        return row

    def subnet(self, network: dict[str, Any], cidr: str = "10.0.0.0/24", **values: Any) -> dict:
        row = {
            "id": str(uuid.uuid4()),
            "network_id": network["id"],
            "tenant_id": network["tenant_id"],
            "cidr": cidr,
            "ip_version": 4,
            "gateway_ip": cidr.replace("0/24", "1"),
            "enable_dhcp": True,
            "ipv6_address_mode": None,
            "dns_nameservers": [],
            "host_routes": [],
            **values,
        }
        self.rows["subnets"].append(row)
        network["subnets"].append(row["id"])
        return row

    def port(self, network: dict[str, Any], **values: Any) -> dict[str, Any]:
        number = next(self._clock)
        subnet_ids = network["subnets"][:1]
        row = {
            "id": str(uuid.uuid4()),
            "network_id": network["id"],
            "tenant_id": network["tenant_id"],
            "mac_address": f"fa:16:3e:00:00:{number + 1:02x}",
            "fixed_ips": [
                {"subnet_id": subnet_id, "ip_address": f"10.0.0.{number + 10}"}
                for subnet_id in subnet_ids
            ],
            "device_id": "",
            "device_owner": "",
            "admin_state_up": True,
            "status": "DOWN",
            "security_groups": ["default-group"],
            "binding:host_id": "",
            "binding:vif_type": "unbound",
            "binding:vif_details": {},
            "binding:vnic_type": "normal",
            "binding:profile": {},
            "resource_request": None,
            "revision_number": 1,
            "created_at": f"2026-01-01T00:00:{number:02d}Z",
            **({"dns_name": ""} if self.dns_extension else {}),
            **values,
        }
        self.rows["ports"].append(row)
        return row

    def ports_of(self, server_uuid: str) -> list[dict[str, Any]]:
        return [row for row in self.rows["ports"] if row["device_id"] == server_uuid]

    def done(self, start: int = 0) -> list[str]:
        """What was asked for: ["GET networks", "POST ports as alice", ...]."""
        return [
            f"{call.method} {call.path.split('/')[2]} as {self._user(call)}"
            for call in self.cloud.calls[start:]
        ]

    def _user(self, call: Call) -> str | None:
        return self.cloud.tokens.get(call.headers["X-Auth-Token"])

    def _serve(self, call: Call) -> Reply:
        for answer in self.before:
            reply = answer(call)
            if reply is not None:
                return reply
        user = self._user(call)
        _, version, resource, *rest = call.path.split("/")
        assert version == "v2.0"
        by = " and ".join(sorted(call.query.keys() - {"fields"}))
        self.asked.append(f"{call.method} {resource}" + (f" by {by}" if by else ""))
        if resource == "auto-allocated-topology":
            return Reply(200, {"auto_allocated_topology": {"id": self.network(rest[0])["id"]}})
        if rest[1:2] == ["bindings"]:
            return self._bindings(call, *rest)
        if call.method == "GET":
            return self._list(user, resource, call.query)
        return getattr(self, f"_{call.method.lower()}")(user, call, *rest)

    def _list(self, user: str | None, resource: str, query: dict[str, list[str]]) -> Reply:
        wanted, filters = query.get("fields"), {k: v for k, v in query.items() if k != "fields"}
        rows = []
        for row in self.rows[resource]:
            seen = user == ADMIN or row.get("tenant_id") == user or row.get("shared")
            if seen and all(str(row.get(key)) in values for key, values in filters.items()):
                rows.append(self._view(user, row, wanted))
        return Reply(200, {resource.replace("-", "_"): rows})

    def _view(self, user: str | None, row: dict[str, Any], wanted: list[str] | None = None) -> dict:
        hidden = () if user == ADMIN else (*PROVIDER, *BINDING, "resource_request")
        return {
            key: value
            for key, value in row.items()
            if key not in hidden and (wanted is None or key in wanted)
        }

    def _post(self, user: str | None, call: Call) -> Reply:
        body = call.body["port"]
        if refusal := self._refuse(user, body):
            return refusal
        network = next((n for n in self.rows["networks"] if n["id"] == body["network_id"]), None)
        if network is None or not (user in (ADMIN, network["tenant_id"]) or network["shared"]):
            return error(404, "NetworkNotFound")
        project = body["tenant_id"]
        count = sum(row["tenant_id"] == project for row in self.rows["ports"])
        if count >= self.quota.get(project, 100):
            return error(409, "OverQuota")
        wanted = body.pop("fixed_ips", None)
        row = self.port(network, **{"tenant_id": project})
        if wanted:
            row["fixed_ips"][0]["ip_address"] = wanted[0]["ip_address"]
        self._change(row, body)
        reply = Reply(201, {"port": self._view(user, row)})
        if self.lose_answers:
            self.lose_answers -= 1
            reply.drop = True
        return reply

    def _put(self, user: str | None, call: Call, port_id: str) -> Reply:
        row = next((row for row in self.rows["ports"] if row["id"] == port_id), None)
        if row is None:
            return error(404, "PortNotFound")
        if refusal := self._refuse(user, call.body["port"]):
            return refusal
        wanted = call.headers.get("If-Match", f"revision_number={row['revision_number']}")
        if wanted != f"revision_number={row['revision_number']}":
            return error(412, "RevisionNumberConstraintFailed")
        if "fixed_ips" in call.body["port"]:
            self._address(row, call.body["port"])
        self._change(row, call.body["port"])
        row["revision_number"] += 1
        reply = Reply(200, {"port": self._view(user, row)})
        if self.lose_updates:
            self.lose_updates -= 1
            reply.drop = True
        return reply

    def _address(self, row: dict[str, Any], body: dict[str, Any]) -> None:
        """Choose addresses where a subnet alone is asked for; one that the port has is kept."""
        named = {ip["ip_address"] for ip in body["fixed_ips"] if "ip_address" in ip}
        spare = [ip for ip in row["fixed_ips"] if ip["ip_address"] not in named]
        for ip in body["fixed_ips"]:
            if "ip_address" in ip:
                continue
            kept = next((one for one in spare if one["subnet_id"] == ip["subnet_id"]), None)
            if kept is not None:
                spare.remove(kept)
            ip["ip_address"] = kept["ip_address"] if kept else f"10.0.0.{next(self._clock) + 100}"

    def _delete(self, user: str | None, call: Call, port_id: str) -> Reply:
        rows = self.rows["ports"]
        if not any(row["id"] == port_id for row in rows):
            return error(404, "PortNotFound")
        self.rows["ports"] = [row for row in rows if row["id"] != port_id]
        return Reply(204)

    def _bindings(self, call: Call, port_id: str, _: str, host: str = "", act: str = "") -> Reply:
        """One binding is active: that which the port shows. Only the plugin ml2 has these calls."""
        row = next((row for row in self.rows["ports"] if row["id"] == port_id), None)
        if row is None:
            return error(404, "PortNotFound")
        inactive, active = self.inactive.setdefault(port_id, []), row["binding:host_id"]
        if call.method == "GET":
            found = [self._binding(host, "INACTIVE") for host in inactive]
            found += [self._binding(active, "ACTIVE")] if active else []
            return Reply(200, {"bindings": found})
        if call.method == "POST":
            return self._add_binding(row, call.body["binding"]["host"])
        if call.method == "PUT":
            assert act == "activate"
            if host == active:
                return error(409, "PortBindingAlreadyActive")
            if host not in inactive:
                return error(404, "PortBindingNotFound")
            inactive.remove(host)
            inactive += [active] if active else []
            self._change(row, {"binding:host_id": host})
            return Reply(200, {"binding": self._binding(host, "ACTIVE")})
        if host == active:
            self._change(row, {"binding:host_id": None})
        elif host in inactive:
            inactive.remove(host)
        return Reply(204)

    def _add_binding(self, row: dict[str, Any], host: str) -> Reply:
        inactive, active = self.inactive.setdefault(row["id"], []), row["binding:host_id"]
        if host == active or host in inactive:
            return error(409, "PortBindingAlreadyExists")
        if host not in self.bindable_hosts:
            return error(500, "PortBindingError")
        if active:
            inactive.append(host)
        else:
            self._change(row, {"binding:host_id": host})
        return Reply(201, {"binding": self._binding(host, "INACTIVE" if active else "ACTIVE")})

    def _binding(self, host: str, status: str) -> dict[str, Any]:
        known = host in self.bindable_hosts
        return {"host": host, "status": status, "vif_type": "ovs" if known else "binding_failed",
                "vif_details": {}, "vnic_type": "normal", "profile": {}}  # fmt: skip

    def _refuse(self, user: str | None, body: dict[str, Any]) -> Reply | None:
        if user != ADMIN and any(key.startswith("binding:") for key in body):
            return error(403, "PolicyNotAuthorized")
        if "dns_name" in body and not self.dns_extension:
            return error(400, "HTTPBadRequest")
        return None

    def _change(self, row: dict[str, Any], body: dict[str, Any]) -> None:
        row.update(body)
        host = row["binding:host_id"]
        if "binding:host_id" in body:
            row["binding:host_id"] = host or ""
            row["binding:vif_type"] = "ovs" if host in self.bindable_hosts else "binding_failed"
            details = {**OVS_DETAILS, "bridge_name": self.bridge}
            row["binding:vif_details"] = details if host in self.bindable_hosts else {}
            if not host:
                row["binding:vif_type"] = "unbound"


def error(status: int, kind: str) -> Reply:
    """An error in Neutron's form."""
    body = {"NeutronError": {"type": kind, "message": f"{kind} happened", "detail": ""}}
    return Reply(status, body)
