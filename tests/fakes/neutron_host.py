"""One host with fakes all around, but its ports are the agent's own code before a FakeNeutron."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from nova_lite.clients.neutron import Neutron
from nova_lite.clients.session import Sessions
from nova_lite.services.ports import Ports
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud
from tests.fakes.neutron import FakeNeutron
from tests.fakes.one_host import OneHost, boot_arguments, recorded

PROJECT = recorded()["instance"]["nova_object.data"]["project_id"]
NETWORK = boot_arguments()["requested_networks"]["nova_object.data"]["objects"][0][
    "nova_object.data"
]["network_id"]
USER = {"auth_token": "user-token", "user_id": "u", "project_id": PROJECT, "roles": ["member"]}


@contextlib.contextmanager
def wired_up(state: Path):
    """A host before a Neutron whose ports are ACTIVE from the beginning."""
    host = NeutronHost(state)
    host.wire_up()
    yield host
    host.close()


class NeutronHost(OneHost):
    """``service`` is the FakeNeutron, ``network`` the one that servers get a port on."""

    def __init__(self, state: Path):
        self.cloud = HttpCloud()
        self.cloud.tokens["user-token"] = PROJECT
        self.service = FakeNeutron(self.cloud)
        self.network = self.service.network(PROJECT, id=NETWORK)
        self.subnet = self.service.subnet(self.network)
        super().__init__(state)
        options = {
            **self.cloud.credentials("neutron"),
            "connect_retries": "0",
            "status_code_retries": "0",
        }
        (state / "neutron").mkdir()
        conf = read_conf(state / "neutron", {"neutron": options})
        self._parts["ports"] = Ports(Neutron(Sessions(conf)), conf, ManualClock())
        self.restart()

    def close(self) -> None:
        self.cloud.close()

    def send(self, method, server, instance=None, context=None, **arguments):
        return super().send(method, server, instance, {**USER, **(context or {})}, **arguments)

    def wire_up(self):
        """All ports are ACTIVE from now on."""

        def answer(call):
            for row in self.service.rows["ports"]:
                row["status"] = "ACTIVE"

        self.service.before.append(answer)

    def addresses(self, server):
        """Addresses of the server's ports in Neutron."""
        return [ip["ip_address"] for row in self.service.ports_of(server)
                for ip in row["fixed_ips"]]  # fmt: skip

    def cached(self, server):
        """The network cache as nova-api reads it."""
        return json.loads(self.conductor.read()["InstanceInfoCache"][server]["network_info"])

    def cached_addresses(self, server):
        return [ip["address"] for vif in self.cached(server) for subnet in
                vif["network"]["subnets"] for ip in subnet["ips"]]  # fmt: skip

    def faults(self):
        """(code, message) of all faults."""
        rows = self.conductor.read().get("InstanceFault", {}).values()
        return [(row["code"], row["message"]) for row in rows]
