"""Keystone sessions against a Keystone on a real socket."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nova_lite import conf as nova_lite_conf
from nova_lite import errors
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply


@pytest.fixture
def cloud():
    fake = HttpCloud()
    fake.services["net"] = ("network", lambda call: Reply(200, {"ports": []}))
    fake.tokens["user-token"] = "alice"
    yield fake
    fake.close()


def context(token="user-token", **fields):
    return RequestContext({"auth_token": token, "request_id": "req-1", **fields})


def test_service_speaks_with_the_groups_credentials_and_the_request_id(cloud, tmp_path):
    """[neutron]'s user logs in once for many calls; the request id goes along."""
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    for _ in range(2):
        sessions.service("neutron", "network", context(global_request_id="req-g")).get("/v2.0/x")
    assert cloud.logins == ["neutron"]
    assert cloud.tokens[cloud.calls[0].headers["X-Auth-Token"]] == "neutron"
    assert cloud.calls[0].headers["X-OpenStack-Request-ID"] == "req-g"


@pytest.mark.parametrize("service_tokens", ["true", "false"])
def test_a_group_that_was_warmed_up_needs_no_keystone_any_more(cloud, tmp_path, service_tokens):
    """Neither for its own calls, nor for the service token that goes along with a user's."""
    service_user = {**cloud.credentials("nova"), "send_service_user_token": service_tokens}
    groups = {"neutron": cloud.credentials("neutron"), "service_user": service_user}
    sessions = Sessions(read_conf(tmp_path, groups))
    sessions.warm_up("neutron")
    asked = len(cloud.identity)
    sessions.service("neutron", "network").get("/v2.0/x")
    sessions.user("neutron", "network", context()).get("/v2.0/x")
    assert len(cloud.identity) == asked
    assert cloud.logins == (["neutron", "nova"] if service_tokens == "true" else ["neutron"])


def test_calls_at_once_keep_their_connections(cloud, tmp_path, caplog):
    """As many as the workers of the agent make; urllib3 warns of each that it throws away."""
    at_once = threading.Barrier(20)

    def serve(call):
        at_once.wait(10)
        return Reply(200, {})

    cloud.services["net"] = ("network", serve)
    conf = read_conf(tmp_path, {"neutron": cloud.credentials("neutron")})
    sessions = Sessions(conf, connections=20)
    adapter = sessions.service("neutron", "network")
    adapter.get_token()
    with caplog.at_level("WARNING", "urllib3"), ThreadPoolExecutor(20) as callers:
        list(callers.map(lambda number: adapter.get("/v2.0/x"), range(20)))
    assert "pool is full" not in caplog.text


def test_a_group_without_credentials_uses_those_of_service_user(cloud, tmp_path):
    """[glance] often has none: [service_user] comes before [placement] and [neutron]."""
    groups = {
        "neutron": cloud.credentials("neutron"),
        "service_user": cloud.credentials("nova"),
    }
    Sessions(read_conf(tmp_path, groups)).service("glance", "network").get("/")
    assert cloud.logins == ["nova"]


def test_no_credentials_anywhere_names_the_groups(tmp_path):
    """The message says where credentials are looked for."""
    with pytest.raises(errors.CredentialsInvalid, match=r"\[glance\].*\[service_user\]"):
        Sessions(read_conf(tmp_path, {})).service("glance", "image")


def test_a_wrong_password_names_the_group_and_not_the_password(cloud, tmp_path):
    """Keystone's refusal becomes CredentialsInvalid."""
    groups = {"neutron": cloud.credentials("neutron", "hunter2")}
    with pytest.raises(errors.CredentialsInvalid, match=r"\[neutron\]") as caught:
        Sessions(read_conf(tmp_path, groups)).service("neutron", "network").get("/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"auth_type": "passwrd"}, {"auth_type": "password", "username": "x"}]
)
def test_incomplete_credentials_name_the_group(tmp_path, options):
    """An unknown plugin or a missing auth_url is a configuration error of that group."""
    with pytest.raises(errors.CredentialsInvalid, match=r"\[neutron\]"):
        Sessions(read_conf(tmp_path, {"neutron": options})).service("neutron", "network")


def test_a_keystone_that_does_not_answer_is_the_control_planes_fault(cloud, tmp_path):
    """A refused connection is not taken for wrong credentials."""
    options = {**cloud.credentials("neutron"), "auth_url": "http://127.0.0.1:1/v3"}
    sessions = Sessions(read_conf(tmp_path, {"neutron": options}))
    with pytest.raises(errors.ControlPlaneUnavailable, match=r"\[neutron\]"):
        sessions.service("neutron", "network").get("/")


def test_user_speaks_with_the_requests_token_and_a_service_token(cloud, tmp_path):
    """Both tokens are sent when [service_user] says so."""
    groups = {
        "neutron": cloud.credentials("neutron"),
        "service_user": {**cloud.credentials("nova"), "send_service_user_token": "true"},
    }
    Sessions(read_conf(tmp_path, groups)).user("neutron", "network", context()).get("/")
    headers = cloud.calls[0].headers
    assert headers["X-Auth-Token"] == "user-token"
    assert cloud.tokens[headers["X-Service-Token"]] == "nova"


def _catalog(cloud):
    """What a request's context has of it."""
    endpoint = {"region": "RegionOne", "publicURL": f"{cloud.url}/net"}
    return [{"type": "network", "name": "neutron", "endpoints": [endpoint]}]


def test_user_takes_the_endpoint_of_the_requests_catalog(cloud, tmp_path):
    """With a catalog in the context nothing is asked of Keystone."""
    catalog = _catalog(cloud)
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    sessions.user("neutron", "network", context(service_catalog=catalog)).get("/v2.0/ports")
    assert cloud.logins == []
    assert cloud.calls[0].path == "/v2.0/ports"


def test_an_expired_token_is_replaced_by_own_credentials(cloud, tmp_path):
    """A 401 is answered by a second try as the agent, and the token is not tried again."""
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    for _ in range(2):
        sessions.user("neutron", "network", context("expired")).get("/v2.0/ports")
    seen = [cloud.tokens.get(call.headers["X-Auth-Token"]) for call in cloud.calls]
    assert seen == [None, "neutron", "neutron"]


def test_a_request_without_token_is_done_with_own_credentials(cloud, tmp_path):
    """Periodic work has no user."""
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    sessions.user("neutron", "network", RequestContext.admin()).get("/")
    assert cloud.tokens[cloud.calls[0].headers["X-Auth-Token"]] == "neutron"


def test_a_call_that_makes_something_stays_the_user_s(cloud, tmp_path):
    """The 401 is the answer; the agent does not log in at all."""
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    adapter = sessions.user(
        "neutron", "network", context("expired", service_catalog=_catalog(cloud)), fall_back=False
    )
    assert adapter.post("/v2.0/ports", json={}, raise_exc=False).status_code == 401
    assert cloud.logins == []
    assert len(cloud.calls) == 1


def test_a_call_that_makes_something_needs_a_token(cloud, tmp_path):
    """Of a request that has lost its token nothing is made."""
    sessions = Sessions(read_conf(tmp_path, {"neutron": cloud.credentials("neutron")}))
    with pytest.raises(errors.RequestTokenExpired):
        sessions.user("neutron", "network", context(None), fall_back=False)


def test_a_service_token_that_has_expired_is_not_the_user_s_fault(cloud, tmp_path):
    """The call is made once more with a new one, by the user still."""
    groups = {
        "neutron": cloud.credentials("neutron"),
        "service_user": {**cloud.credentials("nova"), "send_service_user_token": "true"},
    }
    refused = [Reply(401)]
    cloud.services["net"] = ("network", lambda call: refused.pop() if refused else Reply(200))
    sessions = Sessions(read_conf(tmp_path, groups))
    answer = sessions.user("neutron", "network", context(), fall_back=False).post("/", json={})
    assert answer.status_code == 200
    assert {call.headers["X-Auth-Token"] for call in cloud.calls} == {"user-token"}
    assert len({call.headers["X-Service-Token"] for call in cloud.calls}) == 2


def test_endpoint_override_timeout_and_tls_options_are_honoured(cloud, tmp_path):
    """The options reach the session and the adapter, and there is always a timeout."""
    options = {
        **cloud.credentials("neutron"),
        "endpoint_override": f"{cloud.url}/net/over",
        "timeout": "7",
        "cafile": "/ca.pem",
        "connect_retries": "5",
    }
    sessions = Sessions(read_conf(tmp_path, {"neutron": options}))
    adapter = sessions.service("neutron", "network")
    adapter.get("/v2.0/ports")
    assert cloud.calls[0].path == "/over/v2.0/ports"
    assert (adapter.session.timeout, adapter.session.verify) == (7.0, "/ca.pem")
    assert (adapter.connect_retries, adapter.status_code_retries) == (5, 3)
    assert sessions.service("glance", "image").session.timeout == 60.0


def test_a_group_without_ca_trusts_the_ca_of_its_credentials(cloud, tmp_path):
    """Keystone is reached through the same session: its CA file is taken over."""
    groups = {"service_user": {**cloud.credentials("nova"), "cafile": "/ca.pem"}}
    adapter = Sessions(read_conf(tmp_path, groups)).service("glance", "image")
    assert adapter.session.verify == "/ca.pem"


def test_auth_section_is_followed(cloud, tmp_path):
    """Credentials may stand in a group of another name."""
    groups = {"neutron": {"auth_section": "shared"}, "shared": cloud.credentials("shared")}
    Sessions(read_conf(tmp_path, groups)).service("neutron", "network").get("/")
    assert cloud.logins == ["shared"]


def test_the_sample_configuration_shows_the_credentials():
    """oslo-config-generator lists keystoneauth's options under the groups that use them."""
    options = {opt.dest for opt in dict(nova_lite_conf.list_opts())["neutron"]}
    assert {"auth_type", "password", "cafile", "endpoint_override", "http_retries"} <= options
