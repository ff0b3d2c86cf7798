"""The Cinder client: what it sends, and what refusals become."""

from __future__ import annotations

import pytest

from nova_lite import errors
from nova_lite.clients.cinder import Cinder
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext
from tests.fakes.cinder import FakeCinder
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply

VOLUME = "6ef63586-a730-4d59-b436-e71e4468e202"
ALICE = RequestContext({"auth_token": "alice-token", "project_id": "alice", "request_id": "req-1"})
NOBODY = RequestContext.admin()


@pytest.fixture
def service():
    cloud = HttpCloud()
    cloud.tokens["alice-token"] = "alice"
    yield FakeCinder(cloud)
    cloud.close()


@pytest.fixture
def client(service, tmp_path):
    def make(send_token="true", **options):
        own = {
            **service.cloud.credentials("nova"),
            "connect_retry_delay": "0.01",
            "status_code_retry_delay": "0.01",
            **options,
        }
        user = {**service.cloud.credentials("nova-service"), "send_service_user_token": send_token}
        conf = read_conf(tmp_path, {"cinder": own, "service_user": user})
        return Cinder(Sessions(conf), conf)

    return make


@pytest.fixture
def cinder(client):
    return client()


def answer_with(service, *replies):
    """Answer the next calls with these, then as the service does."""
    left = list(replies)
    service.before.append(lambda call: left.pop(0) if left else None)


def sent(service, header="X-Auth-Token"):
    """Who sent the last call, by the token."""
    return service.cloud.tokens.get(service.cloud.calls[-1].headers.get(header))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.VolumeRequestInvalid),
        (403, errors.VolumeForbidden),
        (404, errors.VolumeAttachmentNotFound),
        (406, errors.VolumeServiceTooOld),
        (409, errors.InvalidVolume),
        (413, errors.VolumeQuotaExceeded),
        (500, errors.VolumeServiceError),
        (502, errors.VolumeServiceUnavailable),
    ],
)
def test_refusals_become_errors_that_say_why(service, cinder, status, expected):
    """Cinder's message reaches the user, whatever its envelope is called."""
    body = {"whatever": {"code": status, "message": "it is like that"}}
    answer_with(service, *[Reply(status, body)] * 9)

    with pytest.raises(expected, match="it is like that") as caught:
        cinder.complete_attachment(ALICE, "a1")

    assert type(caught.value) is expected


def test_a_proxy_s_page_is_no_riddle(service, cinder):
    answer_with(service, Reply(400, ["<html>"]))

    with pytest.raises(errors.VolumeRequestInvalid, match="GET volumes/v1.*HTTP 400"):
        cinder.volume(ALICE, "v1")


def test_nobody_at_home(service, cinder):
    """Cinder away is waited for by whoever calls: the same error as of the control plane."""
    answer_with(service, *[Reply(drop=True)] * 9)

    with pytest.raises(errors.ControlPlaneUnavailable, match="GET volumes/v1") as caught:
        cinder.volume(ALICE, "v1")

    assert caught.value.nova_name == "CinderConnectionFailed"


def test_the_user_asks_and_a_service_vouches(service, cinder):
    """Cinder deletes attachments in use only for a service."""
    made = cinder.create_volume(ALICE, 1)

    cinder.volume(ALICE, made["id"])

    assert (sent(service), sent(service, "X-Service-Token")) == ("alice", "nova-service")


@pytest.mark.parametrize("context", [NOBODY, RequestContext({"auth_token": "too-old"})])
def test_without_a_token_that_is_accepted_the_agent_asks_itself(service, cinder, context):
    """Also when the token has expired on the way; the service token goes along all the same."""
    made = cinder.create_volume(ALICE, 1)

    cinder.volume(context, made["id"])

    assert (sent(service), sent(service, "X-Service-Token")) == ("nova", "nova-service")


@pytest.mark.parametrize("token", [None, "too-old"])
@pytest.mark.parametrize("send_token", ["true", "false"])
def test_a_volume_is_made_by_its_user_or_not_at_all(service, client, send_token, token):
    """The agent's own would be in the service project, where its user never sees it."""
    expired = RequestContext({**ALICE.fields, "auth_token": token})

    with pytest.raises(errors.RequestTokenExpired, match="send_service_user_token"):
        client(send_token).create_volume(expired, 1)

    assert service.state.get("volumes", {}) == {}


def test_a_volume_made_earlier_is_found_with_own_credentials(service, cinder):
    """They see their own project, unless they ask for the user's."""
    expired = RequestContext({**ALICE.fields, "auth_token": "too-old"})

    cinder.find_volumes(expired, {"a": "b"})

    query = service.cloud.calls[-1].query
    assert (sent(service), query["all_tenants"], query["project_id"]) == ("nova", ["1"], ["alice"])


def test_no_service_token_unless_it_is_to_be_sent(service, client):
    client(send_token="false").create_volume(ALICE, 1)

    assert "X-Service-Token" not in service.cloud.calls[-1].headers


@pytest.mark.parametrize("project", ["", "/0123456789abcdef", "/0123456789abcdef/"])
def test_addresses_name_no_project(service, client, project):
    """The project in a catalog's address is the user's; the agent's own token would not fit."""
    made = client().create_volume(ALICE, 1)
    template = f"{service.cloud.url}/volume/v3{project}"

    client(endpoint_template=template).volume(ALICE, made["id"])

    assert service.cloud.calls[-1].path == f"/v3/volumes/{made['id']}"


def test_an_endpoint_template_takes_fields_of_the_request(service, client):
    template = f"{service.cloud.url}/volume/v3/%(project_id)s"

    client(endpoint_template=template).create_volume(ALICE, 1)

    with pytest.raises(errors.InvalidConfiguration, match="endpoint_template"):
        client(endpoint_template=template.replace("project", "nothing")).volume(ALICE, "v")


def test_a_catalog_without_cinder(client):
    """What is missing is named, and for which group."""
    with pytest.raises(errors.InvalidConfiguration, match=r"\[cinder\].*blocks"):
        client(catalog_info="blocks::public").volume(NOBODY, "v1")


def test_storage_that_is_short_of_breath_is_asked_again(service, cinder):
    """Connecting and disconnecting are repeated after 500 and 504, as nova-compute does."""
    volume = cinder.create_volume(ALICE, 1)
    made = cinder.create_attachment(ALICE, volume["id"], "s1")
    answer_with(service, Reply(500), Reply(504), Reply(500))

    updated = cinder.update_attachment(ALICE, made["id"], {"host": "h"}, "/dev/vdc")

    assert updated["status"] == "attaching"
    assert service.state["attachments"][made["id"]]["mountpoint"] == "/dev/vdc"


def test_what_would_be_made_twice_is_asked_for_once(service, cinder):
    """A volume or an attachment whose answer was lost may exist."""
    for create in (
        lambda: cinder.create_volume(ALICE, 1),
        lambda: cinder.create_attachment(ALICE, VOLUME, "s1"),
    ):
        before = len(service.cloud.calls)
        answer_with(service, Reply(drop=True), Reply(503))
        for _ in range(2):
            with pytest.raises(errors.VolumeServiceUnavailable):
                create()
        assert len(service.cloud.calls) == before + 2


def test_all_pages_are_read(service, cinder):
    """Cinder names the next page when its limit is reached."""
    answer_with(
        service,
        Reply(200, {"volumes": [{"id": "v1"}], "volumes_links": [{"rel": "next"}]}),
        Reply(200, {"volumes": [{"id": "v2"}]}),
    )

    found = cinder.find_volumes(ALICE, {"a": "b"})

    assert [volume["id"] for volume in found] == ["v1", "v2"]
    expected = {"metadata": ["{'a': 'b'}"], "all_tenants": ["1"], "project_id": ["alice"]}
    assert service.cloud.calls[-1].query == {**expected, "marker": ["v1"]}


def test_an_older_cinder_tells_of_its_volumes_too(service, cinder):
    made = cinder.create_volume(ALICE, 1)
    answer_with(service, Reply(406))

    assert cinder.volume(ALICE, made["id"])["size"] == 1
    assert service.cloud.calls[-1].headers["OpenStack-API-Version"] == "volume 3.48"


def test_microversions_are_the_least_that_will_do(service, cinder):
    """An older Cinder understands all but what it does not have."""
    answer_with(service, *[Reply(200, {"volume": {}, "attachment": {}})] * 9)
    cinder.volume(ALICE, "v")
    cinder.attachment(ALICE, "a")
    cinder.roll_detaching(ALICE, "v")
    cinder.reimage_volume(ALICE, "v", "i")

    asked = [call.headers["OpenStack-API-Version"] for call in service.cloud.calls]
    assert asked == [f"volume 3.{minor}" for minor in (69, 44, 0, 68)]
