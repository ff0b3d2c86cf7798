"""Neutron's ports before the tests that kill the agent: one ledger on disk, which survives it.

The contract tests of tests/contract/cloud hold these and the real services alike.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from nova_lite.clients.neutron_bindings import Binding
from nova_lite.errors import (
    FixedIpNotFoundForInstance,
    NetworkNotFoundForInstance,
    PortInUse,
    PortNotFound,
)
from nova_lite.model.network import FixedIp, Network, Subnet, Vif
from nova_lite.services.port_attachments import ChosenPort
from tests.fakes.cloud import Ledger

FIRST_ADDRESS = "192.0.2.9"


def vif_of(port_id, content=None):
    """The interface of a port, as the ledger's content has it."""
    content = content or {}
    ips = tuple(FixedIp(ip, 4) for ip in addresses_of(content, port_id))
    subnet = Subnet("192.0.2.0/24", 4, gateway="192.0.2.1", ips=ips)
    return Vif(
        id=port_id,
        mac="fa:16:3e:" + sha256(port_id.encode()).digest()[:3].hex(":"),
        network=Network("net-1", "private", "br-int", 1450, subnets=(subnet,)),
        vif_type="ovs",
        devname=("tap" + port_id)[:14],
        active=not content.get("ports_stay_down"),
    )


def addresses_of(content, port_id):
    """A port has one address, unless more were added or it was taken away."""
    return content.get("addresses", {}).get(port_id, [FIRST_ADDRESS])


class FakePorts:
    """Neutron's ports: made for a server, found again by its uuid; ``bound``: port -> host.

    They are wired up at once, unless the ledger says ``ports_stay_down``; a server gets as many as
    it says in ``ports_each``, by default one. ``addresses`` has those of ports that do not have
    the first one alone.
    """

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.attachments = FakePortAttachments(ledger)
        self.fixed_ips = FakeFixedIps(ledger)
        self.bindings = FakePortBindings(ledger)
        self.host_bindings = FakeHostBindings(ledger, self.bindings)

    def warm_up(self):
        pass

    def read_ahead(self, context, requests):
        pass

    def allocate(
        self, context, server, requests, security_groups, host, *, first=False, providers=None
    ):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            # Who says that it is the first does not look: what it is wrong about is there twice.
            mine = [] if first else self._of(content, server.uuid)
            while len(mine) < content.get("ports_each", 1):
                mine.append(f"{server.uuid[:8]}-{len(ports) + 1:02x}")
                ports[mine[-1]] = server.uuid
            content.setdefault("bound", {}).update(dict.fromkeys(mine, host))
            return [vif_of(port, content) for port in mine]

    def deallocate(self, context, server_uuid, preserved_ids):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            for port in [port for port, owner in ports.items() if owner == server_uuid]:
                del ports[port]
                content.get("bound", {}).pop(port, None)

    def security_groups(self, context, server_uuid):
        return ["default"] * len(self._of(self.ledger.read(), server_uuid))

    def bind(self, context, server, known, host, providers=None):
        with self.ledger.open() as content:
            mine = self._of(content, server.uuid)
            content.setdefault("bound", {}).update(dict.fromkeys(mine, host))
        return self.refresh(context, server.uuid, known)

    def unbind(self, context, server_uuid, host):
        with self.ledger.open() as content:
            for port in self._of(content, server_uuid):
                if content.get("bound", {}).get(port) == host:
                    del content["bound"][port]

    def announce_move(self, context, server_uuid, host):
        with self.ledger.open() as content:
            for port in self._of(content, server_uuid):
                if host is None:
                    content.get("migrating_to", {}).pop(port, None)
                elif content.get("bound", {}).get(port) != host:
                    content.setdefault("migrating_to", {})[port] = host

    def hand_back(self, context, server, host, before):
        with self.ledger.open() as content:
            bound = content.setdefault("bound", {})
            mine = [port for port in self._of(content, server.uuid) if bound.get(port) == host]
            bound.update(dict.fromkeys(mine, before))

    def refresh(self, context, server_uuid, known, *, only=None, beside=(), sparing=False):
        content = self.ledger.read()
        bound, mine = content.get("bound", {}), self._of(content, server_uuid)
        if not known:
            known = [vif_of(port, content) for port in mine]
        return [
            replace(
                vif,
                vif_type="ovs" if vif.id in bound else "unbound",
                network=vif_of(vif.id, content).network,
            )
            for vif in known
            if vif.id in mine or only is not None
        ]

    def older(self, context, server_uuid, moment):
        return set()

    def changed(self, context, servers, host):
        """Which ports there are, where they are bound to, and their addresses."""
        content = self.ledger.read()
        bound = content.get("bound", {})
        return {
            uuid
            for uuid, known in servers.items()
            if known is None
            or {vif.id for vif in known} != set(mine := self._of(content, uuid))
            or any(bound.get(port) != host for port in mine)
            or any(vif.network != vif_of(vif.id, content).network for vif in known)
        }

    def gone(self, context, port_ids):
        return set(port_ids) - self.ledger.read().get("ports", {}).keys()

    def active(self, context, server_uuid, *, within=0.0):
        content = self.ledger.read()
        if content.get("ports_stay_down"):
            return set()
        return set(self._of(content, server_uuid)) & content.get("bound", {}).keys()

    @staticmethod
    def _of(content, server_uuid):
        return [port for port, owner in content.get("ports", {}).items() if owner == server_uuid]


class FakeHostBindings:
    """Those of all ports of a server."""

    def __init__(self, ledger: Ledger, bindings: FakePortBindings):
        self.ledger, self._bindings = ledger, bindings

    def activate(self, context, server_uuid, host):
        return self._switch(server_uuid, host)

    def hand_back(self, context, server_uuid, host, before):
        return self._switch(server_uuid, before, (host, None))

    def _switch(self, server_uuid, host, only=None):
        ports = {port for port, bound in self._bound(server_uuid)
                 if bound != host and (only is None or bound in only)}  # fmt: skip
        return self._bindings.activate(None, ports, host) == ports

    def remove(self, context, server_uuid, host):
        ports = [port for port, bound in self._bound(server_uuid) if bound not in (host, None)]
        self._bindings.drop(None, ports, host)

    def _bound(self, server_uuid):
        content = self.ledger.read()
        return [(port, content.get("bound", {}).get(port))
                for port in FakePorts._of(content, server_uuid)]  # fmt: skip


class FakePortAttachments:
    """A port whose owner is empty may be attached; ``named`` has the ports that were made under a
    name and are not bound yet."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def choose(self, context, server, request, name, *, asked_before=False):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            if request.port_id is not None:
                if request.port_id not in ports:
                    raise PortNotFound(f"Port {request.port_id} could not be found.")
                if ports[request.port_id]:
                    raise PortInUse(f"Port {request.port_id} is still in use.")
                return ChosenPort(request.port_id)
            named = content.setdefault("named", {})
            made = named.get(name) if asked_before else None
            if made is None:
                made = named[name] = f"{server.uuid[:8]}-{len(ports) + 1:02x}"
                ports[made] = server.uuid
            return ChosenPort(made)

    def bind(self, context, server, chosen, host, *, made, name=None, providers=None):
        port_id = chosen.id
        with self.ledger.open() as content:
            owner = content.setdefault("ports", {}).get(port_id)
            if owner is None:
                raise PortNotFound(f"Port {port_id} could not be found.")
            if owner not in ("", server.uuid):
                raise PortInUse(f"Port {port_id} is still in use.")
            content["ports"][port_id] = server.uuid
            content.setdefault("bound", {})[port_id] = host
            content["named"] = {
                name: port for name, port in content.get("named", {}).items() if port != port_id
            }
            return replace(vif_of(port_id, content), preserve=not made)

    def release(self, context, server_uuid, port_id, *, made, name=None):
        with self.ledger.open() as content:
            ports = content.setdefault("ports", {})
            surplus = content.setdefault("named", {}).pop(name, None)
            if surplus is not None:
                ports.pop(surplus, None)
            if ports.get(port_id) != server_uuid:
                return
            if made:
                del ports[port_id]
            else:
                ports[port_id] = ""
            content.get("bound", {}).pop(port_id, None)


class FakePortBindings:
    """``beside``: port -> hosts that it has an inactive binding to; the active one is ``bound``.

    ``activated`` has (port, host) of each switch, in order."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def of(self, context, port_id):
        return self._of(self.ledger.read(), port_id)

    @staticmethod
    def _of(content, port_id):
        active = content.get("bound", {}).get(port_id)
        found = {host: Binding(port_id, host, False, "ovs")
                 for host in content.get("beside", {}).get(port_id, ())}  # fmt: skip
        if active is not None:
            found[active] = Binding(port_id, active, True, "ovs")
        return found

    def make(self, context, port_id, host, *, vnic_type="normal", profile=None):
        with self.ledger.open() as content:
            if port_id not in content.get("ports", {}):
                raise PortNotFound(f"Port {port_id} could not be found.")
            if host not in self._of(content, port_id):
                content.setdefault("beside", {}).setdefault(port_id, []).append(host)
            return self._of(content, port_id)[host]

    def activate(self, context, port_ids, host):
        switched = set()
        with self.ledger.open() as content:
            for port_id in port_ids:
                found = self._of(content, port_id).get(host)
                if found is None:
                    continue
                switched.add(port_id)
                if found.active:
                    continue
                before = content.setdefault("bound", {}).get(port_id)
                beside = [other for other in content["beside"][port_id] if other != host]
                content["beside"][port_id] = beside + ([before] if before else [])
                content["bound"][port_id] = host
                content.setdefault("activated", []).append([port_id, host])
        return switched

    def drop(self, context, port_ids, host):
        dropped = set()
        with self.ledger.open() as content:
            for port_id in port_ids:
                found = self._of(content, port_id).get(host)
                if found is not None and found.active:
                    continue
                dropped.add(port_id)
                if found is not None:
                    content["beside"][port_id].remove(host)
        return dropped


class FakeFixedIps:
    """The network has room: each address added is the next one."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def on_network(self, context, server_uuid, network_id):
        content = self.ledger.read()
        mine = [port for port, owner in content.get("ports", {}).items() if owner == server_uuid]
        if not mine:
            raise NetworkNotFoundForInstance(
                f"Network could not be found for instance {server_uuid}. Network {network_id}: none"
            )
        return {port: addresses_of(content, port) for port in mine}

    def add(self, context, server_uuid, network_id, before):
        with self.ledger.open() as content:
            for port, known in before.items():
                has = addresses_of(content, port)
                if content["ports"].get(port) != server_uuid or set(has) - set(known):
                    return
                content.setdefault("addresses", {})[port] = [*has, f"192.0.2.{10 + len(has)}"]
                return

    def port_with(self, context, server_uuid, address):
        content = self.ledger.read()
        for port, owner in content.get("ports", {}).items():
            if owner == server_uuid and address in addresses_of(content, port):
                return port
        raise FixedIpNotFoundForInstance(
            f"Instance {server_uuid} does not have fixed IP '{address}'."
        )

    def remove(self, context, server_uuid, port_id, address):
        with self.ledger.open() as content:
            if content["ports"].get(port_id) == server_uuid:
                rest = [ip for ip in addresses_of(content, port_id) if ip != address]
                content.setdefault("addresses", {})[port_id] = rest
