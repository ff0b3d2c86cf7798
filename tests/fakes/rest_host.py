"""One agent in this process with the real clients of Neutron and Placement, and what it asks."""

from __future__ import annotations

import itertools
from pathlib import Path
from urllib.parse import urlencode

from nova_lite.conf import load
from nova_lite.handlers.table import handlers
from nova_lite.services.events import VIF_PLUGGED
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.cloud import FakeImageSource
from tests.fakes.http_cloud import Call, HttpCloud, Reply
from tests.fakes.neutron import FakeNeutron
from tests.fakes.one_host import IMAGE, MIB, OneHost, boot_arguments, recorded
from tests.fakes.placement import FakePlacementApi
from tests.fakes.vif import FakeVifDriver

PROJECT = recorded()["instance"]["nova_object.data"]["project_id"]
USER = {"auth_token": "user-token", "user_id": "u", "roles": ["member"], "project_id": PROJECT}


class CountedImages(FakeImageSource):
    """Images whose calls of the image service are kept in ``calls``."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.calls: list[str] = []

    def show(self, context, image_id):
        self.calls.append("GET image")
        return super().show(context, image_id)

    def download(self, context, image_id, target):
        self.calls.append("GET file")
        super().download(context, image_id, target)


class WiredVifs(FakeVifDriver):
    """``wired`` is called with (port id, server uuid) when a port is plugged."""

    wired = staticmethod(lambda port, server: None)

    def plug(self, vif, *, server_uuid, server_name, project_id):
        super().plug(
            vif, server_uuid=server_uuid, server_name=server_name, project_id=project_id
        )
        self.wired(vif.id, server_uuid)


class RestHost(OneHost):
    """As OneHost, but Neutron and Placement are on a socket, and Keystone before them.

    Neutron reports each port as wired up when it is plugged (``events`` False: it does not tell).
    """

    def __init__(self, state: Path):
        super().__init__(state)
        self.cloud = HttpCloud()
        self.cloud.tokens["user-token"] = PROJECT
        self.neutron = FakeNeutron(self.cloud)
        self.placement = FakePlacementApi()
        self.cloud.services["placement"] = ("placement", self._place)
        self.images = CountedImages(state / "images")
        self.images.add(IMAGE, b"".ljust(MIB, b"\0"))
        self.events = True
        self.config_drive = False
        self._numbers = itertools.count(1)
        for part in ("ports", "placement"):
            del self._parts[part]
        self.vifs = WiredVifs()
        self.vifs.wired = self._wired
        self._parts.update(image_store=self.images, vif_driver=self.vifs)
        groups = "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
            for name, options in (
                ("neutron", self.cloud.credentials("neutron")),
                ("placement", self.cloud.credentials("placement")),
            )
        )
        path = state / "nova.conf"
        path.write_text(path.read_text() + groups)
        self.conf = load.load(["--config-file", str(path)], "test")
        self.restart()

    def _place(self, call: Call) -> Reply:
        url = f"{call.path}?{urlencode(call.query, doseq=True)}"
        answer = self.placement.request(
            url, call.method, json=call.body, raise_exc=False, microversion="1.36"
        )
        return Reply(answer.status_code, answer.json() if answer.content else {})

    def _wired(self, port_id: str, server: str) -> None:
        for row in self.neutron.rows["ports"]:
            if row["id"] == port_id:
                row["status"] = "ACTIVE"
        if self.events:
            self.tools.events.deliver(server, VIF_PLUGGED, port_id, "completed")

    def network(self) -> dict:
        """A network of the user's, with a subnet."""
        row = self.neutron.network(PROJECT)
        self.neutron.subnet(row)
        return row

    def get(self, server: str) -> WireObject:
        """The server as a message would have it; reading it here counts as nobody's call."""
        found = super().get(server)
        with self.conductor.database() as tables:
            tables["calls"].pop()
        return found

    def ports_of(self, server: str) -> list[str]:
        """Ids of a server's ports."""
        return [row["id"] for row in self.neutron.ports_of(server)]

    def begin_boot(self, *requests: dict, request: str | None = None, **more) -> str:
        """Ask for a server with these network requests; its uuid.

        :param request: the id of the API's request, where it asks for several servers
        """
        server, arguments = self.schedule(), boot_arguments()
        drive = "True" if self.config_drive else ""
        self.conductor.set(server, id=next(self._numbers), config_drive=drive)
        networks = arguments["requested_networks"]["nova_object.data"]
        (one,) = networks["objects"]
        blank = dict.fromkeys(one["nova_object.data"])
        networks["objects"] = [
            {**one, "nova_object.data": {**blank, **request}} for request in requests
        ]
        user = {**USER, "request_id": request} if request else USER
        self.send("build_and_run_instance", server, context=user, **{**arguments, **more})
        return server

    def boot_with(self, *requests: dict) -> str:
        """A server with these network requests, booted; its uuid."""
        server = self.begin_boot(*requests)
        self.settle()
        assert self.row(server) == ("host1", "active", None, 1)
        return server

    def do(self, method: str, server: str, task_state: str | None, **arguments) -> None:
        """A verb of the API on a server, to its end."""
        self.conductor.set(server, task_state=task_state)
        self.send(method, server, context=USER, **arguments)
        self.settle()

    def tell(self, name: str, server: str, port: str) -> None:
        """An event as nova-api sends it."""
        event = WireObject.new(
            "InstanceExternalEvent", "1.5", instance_uuid=server, name=name, tag=port,
            status="completed", data={},
        )  # fmt: skip
        handle = handlers(self.tools, self.engine)["external_instance_event"]
        handle(RequestContext({"request_id": "req-event"}), [self.get(server)], [event])
        self.settle()

    def asked(self) -> Asked:
        """What was asked for so far."""
        return Asked(self)


class Asked:
    """What the agent has asked other services since this was made."""

    def __init__(self, host: RestHost):
        self._host = host
        self._start = {name: len(calls) for name, calls in self._calls().items()}

    def __getitem__(self, service: str) -> list[str]:
        return self._calls()[service][self._start[service] :]

    def counts(self) -> dict[str, int]:
        """Calls by service, those of services that were not asked left out."""
        return {name: len(self[name]) for name in self._start if self[name]}

    def _calls(self) -> dict[str, list[str]]:
        host = self._host
        return {
            "Neutron": host.neutron.asked,
            "Keystone": host.cloud.identity,
            "Glance": host.images.calls,
            "Placement": host.placement.calls,
            "nova-conductor": host.conductor.read()["calls"],
        }

