from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1 import exceptions

from nova_lite.clients.session import Sessions
from nova_lite.errors import (
    ControlPlaneUnavailable,
    CredentialsInvalid,
    InvalidConfiguration,
    NovaLiteError,
)
from nova_lite.preflight import openstack
from nova_lite.preflight.base import Status
from tests.fakes.conf_file import read_conf

KEYSTONE = {
    "auth_type": "password", "auth_url": "http://keystone/v3", "username": "nova",
    "password": "secret", "project_name": "service", "user_domain_id": "default",
    "project_domain_id": "default",
}  # fmt: skip


class Answer:
    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status_code = status
        self.content = b"" if body is None else json.dumps(body).encode()
        self.headers = headers

    def json(self) -> Any:
        return json.loads(self.content)


class Api:
    """An adapter with one answer for everything; ``asked`` lists the URLs."""

    def __init__(self, answer: Answer | Exception, issued: datetime | None = None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.session = SimpleNamespace(get=self.get)
        access = SimpleNamespace(issued=issued)
        self.auth = SimpleNamespace(
            auth_url="http://keystone/v3",
            get_token=lambda session: "token",
            get_auth_ref=lambda session: access,
        )

    def get(self, url: str, **arguments: Any) -> Answer:
        assert arguments["timeout"] <= 10
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def request(self, url: str, method: str, **arguments: Any) -> Answer:
        return self.get(url, timeout=10)

    def get_endpoint(self) -> str | None:
        return "http://glance:9292/v2/"


def env(api: Any, *, api_servers: list[str] | None = None) -> Any:
    conf = SimpleNamespace(host="node1", glance=SimpleNamespace(api_servers=api_servers))
    return SimpleNamespace(
        conf=conf, sessions=SimpleNamespace(service=lambda group, service_type: api)
    )


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(0, Status.OK), (-4, Status.OK), (-20, Status.WARNING), (20, Status.WARNING),
     (3600, Status.FAILURE)],
)  # fmt: skip
@pytest.mark.parametrize("header", [True, False])
def test_clocks_are_compared(seconds: float, status: Status, header: bool) -> None:
    """By the Date header or, where there is none, by the time of a new token."""
    theirs = time.time() + seconds
    issued = datetime.fromtimestamp(theirs, UTC)
    answer = Answer(200, Date=formatdate(theirs, usegmt=True)) if header else Answer(200)

    found = openstack.CLOCK.look(env(Api(answer, issued)))

    assert found.status is status
    assert status is Status.OK or "apart" in found.message


def test_an_unknown_clock_is_no_failure() -> None:
    """Neither header nor a plugin that logs in."""
    api = Api(Answer(200))
    api.auth = SimpleNamespace(auth_url="http://keystone/v3")

    assert openstack.CLOCK.look(env(api)).status is Status.WARNING


def test_each_group_needs_a_token() -> None:
    """What is wrong with several of them is said once."""
    error: NovaLiteError = CredentialsInvalid("Keystone refuses the credentials of [placement]")

    def service(group: str, service_type: str) -> Api:
        if group != "glance":
            raise error
        return Api(Answer(200))

    given = env(None)
    given.sessions.service = service

    found = openstack.KEYSTONE.look(given)

    assert found.status is Status.FAILURE
    assert found.message == error.message
    assert openstack.KEYSTONE.look(env(Api(Answer(200)))).status is Status.OK


@pytest.mark.parametrize(
    ("options", "group", "status"),
    [
        ({"swtpm_enabled": "true"}, {}, Status.WARNING),
        ({"swtpm_enabled": "true"}, KEYSTONE, Status.OK),
        ({"swtpm_enabled": "true", "supported_tpm_secret_security": "user,host"}, {}, Status.OK),
        ({"swtpm_enabled": "false"}, {}, Status.OK),
    ],
)
def test_keys_of_the_compute_service_need_its_credentials(
    tmp_path: Path, options: dict[str, str], group: dict[str, str], status: Status
) -> None:
    """Those of other groups do not take their place."""
    groups = {"libvirt": options, "service_user": group, "placement": KEYSTONE}
    conf = read_conf(tmp_path, groups)

    found = openstack.TPM_KEYS.look(SimpleNamespace(conf=conf, sessions=Sessions(conf)))

    assert found.status is status
    assert status is Status.OK or "[service_user] has no credentials" in found.message


def agents(*rows: tuple[str, bool]) -> Answer:
    return Answer(200, {"agents": [{"agent_type": kind, "alive": up} for kind, up in rows]})


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (agents(("OVN Controller agent", True)), Status.OK, "alive"),
        (agents(("OVN Controller agent", False)), Status.WARNING, "is not alive"),
        (agents(("OVN Metadata agent", True)), Status.WARNING, "unknown to Neutron"),
        (agents(), Status.WARNING, "host 'node1'"),
        (Answer(403), Status.FAILURE, "refuses"),
        (Answer(500), Status.FAILURE, "500"),
    ],
)
def test_neutron_must_know_an_agent_of_this_host(answer: Answer, status: Status, says: str) -> None:
    """Under the very name that nova uses, or ports cannot be bound."""
    api = Api(answer)

    found = openstack.NEUTRON.look(env(api))

    assert found.status is status
    assert says in found.message
    assert api.asked == ["/v2.0/agents?host=node1"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (exceptions.ConnectTimeout("10 s"), ControlPlaneUnavailable),
        (exceptions.EndpointNotFound("network"), InvalidConfiguration),
    ],
)
def test_services_that_do_not_answer(error: Exception, raised: type[Exception]) -> None:
    """The runner makes failures of the errors."""
    with pytest.raises(raised):
        openstack.NEUTRON.look(env(Api(error)))


def test_glance_is_asked_at_every_configured_server() -> None:
    """Else where the catalog says, with or without the version in its URL."""
    api = Api(Answer(200, {"images": []}))
    assert openstack.GLANCE.look(env(api)).status is Status.OK
    assert api.asked == ["http://glance:9292/v2/images?limit=1"]

    api = Api(Answer(503))
    found = openstack.GLANCE.look(env(api, api_servers=["http://a", "http://b/"]))
    assert found.status is Status.FAILURE
    assert "Glance at http://a answers 503" in found.message
    assert api.asked == ["http://a/v2/images?limit=1", "http://b/v2/images?limit=1"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [([{"uuid": "u-1", "name": "node1"}], "u-1"), ([], "no resource provider is named 'node1'")],
)
def test_placement_shows_the_provider_of_this_host(rows: list[Any], says: str) -> None:
    """A host that never joined has none: that is fine."""
    found = openstack.PLACEMENT.look(env(Api(Answer(200, {"resource_providers": rows}))))

    assert found.status is Status.OK
    assert says in found.message
