"""Networks, groups and addresses of a test's own, and the world beyond their router."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.cloud.support.api import BOOT_SECONDS, NAME_PREFIX, Api
from tests.cloud.support.devcloud import CloudError, DevCloud, wait_for
from tests.cloud.support.guest import Guest

GATEWAY = "172.24.4.1"  # the address of the world beyond the router, on the network "public"
NAMESPACE = "nova-lite-outside"
SSH = 22
TRIES, PATIENCE_S = 3, 90.0
TELLER = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, (peer, _) = server.accept()
    connection.sendall(peer.encode())
    connection.close()
"""


class Neutron:
    """Makes things in Neutron, and has them deleted, last first.

    :param garbage: takes the deletions
    """

    def __init__(self, api: Api, garbage: Any) -> None:
        self._api = api
        self._garbage = garbage

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self._api.rest(self._api.network, method, path, body)

    def _make(self, collection: str, kind: str, **values: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.call("POST", collection, {kind: values})[kind]
        self._garbage.later(lambda: self._delete(f"{collection}/{made['id']}"))
        return made

    def _delete(self, path: str) -> None:
        """A port whose server has gone keeps its group or network in use for a moment."""
        wait_for(f"DELETE {path}", lambda: self._deleted(path), 30, pause=1.0)

    def _deleted(self, path: str) -> bool:
        status = self._api.network.request(path, "DELETE", raise_exc=False).status_code
        return status in (204, 404)

    def network(self, *cidrs: str, **more: Any) -> str:
        """A network with a subnet for each range; returns its id."""
        network = self._make("/networks", "network", name=f"{NAME_PREFIX}-network", **more)["id"]
        for cidr in cidrs:
            self.subnet(network, cidr)
        return str(network)

    def subnet(self, network: str, cidr: str, **more: Any) -> str:
        """IPv6 ranges get SLAAC, as most providers have it."""
        if ":" in cidr:
            more = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", **more}
        version = 6 if ":" in cidr else 4
        body = {"network_id": network, "cidr": cidr, "ip_version": version, **more}
        return str(self._make("/subnets", "subnet", **body)["id"])

    def subnets(self, network: str) -> list[str]:
        found = self.call("GET", f"/subnets?network_id={network}")["subnets"]
        return [subnet["id"] for subnet in found]

    def router(self, *networks: str) -> str:
        """A router between the world outside and all subnets of networks."""
        public = {"network_id": self._api.network_id("public")}
        router = self._make("/routers", "router", name=NAME_PREFIX, external_gateway_info=public)
        path = f"/routers/{router['id']}"
        for network in networks:
            for subnet in self.subnets(network):
                self.call("PUT", f"{path}/add_router_interface", {"subnet_id": subnet})
                self._garbage.later(
                    lambda subnet=subnet: self.call(
                        "PUT", f"{path}/remove_router_interface", {"subnet_id": subnet}
                    )
                )
        return str(router["id"])

    def port(self, network: str, **more: Any) -> dict[str, Any]:
        return self._make("/ports", "port", network_id=network, name=NAME_PREFIX, **more)

    def update_port(self, port_id: str, **values: Any) -> dict[str, Any]:
        updated: dict[str, Any] = self.call("PUT", f"/ports/{port_id}", {"port": values})["port"]
        return updated

    def group(self, suffix: str) -> dict[str, Any]:
        """A security group that lets nothing in."""
        return self._make("/security-groups", "security_group", name=f"{NAME_PREFIX}-{suffix}")

    def allow(self, group: str, protocol: str, **more: Any) -> str:
        """A rule that lets something in; returns its id."""
        if protocol == "tcp":
            more = {"port_range_min": SSH, "port_range_max": SSH, **more}
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
                "protocol": protocol, **more}  # fmt: skip
        return str(self._make("/security-group-rules", "security_group_rule", **rule)["id"])

    def forbid(self, rule: str) -> None:
        self.call("DELETE", f"/security-group-rules/{rule}")

    def floating_ip(self, port_id: str | None = None) -> dict[str, Any]:
        return self._make(
            "/floatingips", "floatingip",
            floating_network_id=self._api.network_id("public"), port_id=port_id,
        )  # fmt: skip

    def associate(self, floating_id: str, port_id: str | None) -> None:
        self.call("PUT", f"/floatingips/{floating_id}", {"floatingip": {"port_id": port_id}})

    def trunk(self, parent: str, child: str, vlan: int) -> str:
        """A trunk port with one subport."""
        subport = {"port_id": child, "segmentation_type": "vlan", "segmentation_id": vlan}
        return str(self._make("/trunks", "trunk", port_id=parent, sub_ports=[subport])["id"])


class Outside:
    """The machine beyond the router, where floating IPs and provider networks are."""

    def __init__(self, cloud: DevCloud) -> None:
        self._cloud = cloud

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", NAMESPACE, *command],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def pings(self, address: str) -> bool:
        return self.run("ping", "-c", "1", "-W", "1", address).returncode == 0

    def connects(self, address: str) -> bool:
        """Whether somebody accepts a connection on the port of SSH."""
        return self.run("timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{SSH}").returncode == 0

    def ssh(self, address: str, command: str) -> str:
        """Output of a command in a guest that has the key pair nova-lite."""
        return self._cloud.run("guest", address, command)

    @contextlib.contextmanager
    def caller_teller(self, port: int) -> Iterator[None]:
        """For a while a TCP server answers each caller with the address that it came from."""
        server = subprocess.Popen(
            ["ip", "netns", "exec", NAMESPACE, "python3", "-c", TELLER, str(port)],
            stdin=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            server.kill()
            server.wait()


class Neighbour:
    """A machine on a VLAN of the provider's network, beside the guests: a host plays it.

    :param address: with its prefix length
    """

    def __init__(self, cloud: DevCloud, host: str, vlan: int, address: str) -> None:
        self._cloud, self._host, self._vlan, self._address = cloud, host, vlan, address
        self._name = f"vlan{vlan}"

    def __enter__(self) -> Neighbour:
        self._on("ovs-vsctl", "--may-exist", "add-port", "br-ex", self._name, f"tag={self._vlan}",
                 "--", "set", "interface", self._name, "type=internal")  # fmt: skip
        self._on("ip", "addr", "replace", self._address, "dev", self._name)
        self._on("ip", "link", "set", self._name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._on("ovs-vsctl", "--if-exists", "del-port", "br-ex", self._name)

    def pings(self, address: str) -> bool:
        return "1 received" in self._on("ping", "-c", "1", "-W", "1", address, check=False)

    def _on(self, *command: str, check: bool = True) -> str:
        return self._cloud.on(self._host, *command, check=check)


def soon(what: str, ask: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait for what OVN or Neutron do in their own time."""
    return wait_for(what, ask, seconds, pause=0.5)


def never(what: str, ask: Callable[[], bool]) -> None:
    """Ask a few times whether something that must not be is.

    :raises CloudError: it is
    """
    for _ in range(TRIES):
        if ask():
            raise CloudError(what)
        time.sleep(0.5)


def addresses(server: dict[str, Any], kind: str | None = None) -> list[str]:
    """A server's addresses as users see them; ``kind`` is ``fixed`` or ``floating``."""
    return [
        address["addr"]
        for group in server["addresses"].values()
        for address in group
        if kind in (None, address["OS-EXT-IPS:type"])
    ]


def port_facts(api: Api, server: str) -> dict[str, tuple[str, Any]]:
    """What no move may change of the server's ports: id -> MAC and fixed addresses."""
    return {port["id"]: (port["mac_address"], port["fixed_ips"]) for port in api.ports(server)}


@dataclass(frozen=True)
class NetworkGuest:
    """A running guest that other guests talk to.

    :param ports: as they were when it booted, in the order of its interfaces
    """

    id: str
    name: str
    guest: Guest
    ports: list[dict[str, Any]]

    @property
    def port(self) -> dict[str, Any]:
        return self.ports[0]

    @property
    def address(self) -> str:
        return str(self.port["fixed_ips"][0]["ip_address"])

    def says(self, script: str) -> bool:
        """Whether a command succeeds in the guest."""
        return "yes" in self.guest.ask(f"{script} >/dev/null 2>&1 && echo yes; echo")

    def pings(self, address: str) -> bool:
        command = "ping6" if ":" in address else "ping"
        return self.says(f"{command} -c 1 -W 1 {address}")

    def connects(self, address: str) -> bool:
        return self.says(f"nc -w 2 {address} {SSH} </dev/null")


def boot_guests(
    api: Api, cloud: DevCloud, garbage: Any, places: dict[str, list[dict[str, Any]]], **more: Any
) -> list[NetworkGuest]:
    """Guests that run and answer, booted together.

    :param places: the ports of the guest of each host
    :param more: as of ``Api.request_boot``
    """
    started = []
    for host, ports in places.items():
        networks = [{"port": port["id"]} for port in ports]
        server = api.request_boot(host, image="tiny-agent", networks=networks,
                                  **{"key_name": "nova-lite", **more})  # fmt: skip
        garbage.server(server["id"])
        started.append((host, server["id"], ports))
    return [network_guest(api, cloud, *facts) for facts in started]


def network_guest(
    api: Api, cloud: DevCloud, host: str, server_id: str, ports: list[dict[str, Any]]
) -> NetworkGuest:
    """A guest of the image tiny-agent, as soon as it answers."""
    server = api.wait_status(server_id, "ACTIVE", BOOT_SECONDS)
    api.wait_console(server_id, "TINY: ready")
    return NetworkGuest(server_id, server["name"], Guest(cloud, host, server_id), ports)
