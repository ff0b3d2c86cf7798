"""What of a request is a secret: found wherever nova-api puts it, and put back."""

from __future__ import annotations

import copy
import json

import pytest

from nova_lite.wire import confidential
from tests.wire import recorded

# Those of the compute API; names of remote methods of the conductor have a dot.
RECORDED = [
    pytest.param(path, id=f"{release}-{path.stem}")
    for release in recorded.ALL
    for path in recorded.paths(release)
    if "." not in path.stem
]
SECRET = "hush-Korrekt-Pferd"
REQUEST = {
    "request_id": "req-1",
    "context": {"auth_token": SECRET, "user_id": "u", "service_catalog": []},
    "arguments": {
        "admin_password": SECRET,
        "injected_files": [["/etc/motd", SECRET]],
        "instance": {
            "nova_object.name": "Instance",
            "nova_object.data": {"uuid": "s1", "user_data": SECRET, "metadata": {"a": "b"}},
        },
        "shares": [{"nova_object.data": {"access_key": SECRET, "tag": "docs"}}],
        "request_spec": {"nova_object.data": {"requested_destination": {"nova_object.data": {
            "cell": {"nova_object.data": {"uuid": "c1", "transport_url": f"rabbit://a:{SECRET}@b",
                                          "database_connection": f"mysql://a:{SECRET}@b"}},
        }}}},
    },
}


def test_secrets_are_taken_out_and_put_back():
    """Nothing else changes, and nothing of it is written to what it is taken from."""
    before = copy.deepcopy(REQUEST)

    told, secrets = confidential.taken_out(REQUEST)

    assert before == REQUEST
    assert SECRET not in json.dumps(told)
    assert confidential.names(secrets) == {
        "auth_token", "admin_password", "injected_files", "user_data", "access_key",
        "transport_url", "database_connection",
    }  # fmt: skip
    mapping = told["arguments"]["request_spec"]["nova_object.data"]["requested_destination"]
    assert mapping["nova_object.data"]["cell"]["nova_object.data"] == {"uuid": "c1"}
    confidential.put_back(told, json.loads(json.dumps(secrets)))
    assert told == REQUEST


@pytest.mark.parametrize("empty", [None, "", []])
def test_what_is_empty_is_no_secret(empty):
    """A request without a password has lost none."""
    told, secrets = confidential.taken_out({"arguments": {"admin_password": empty}})

    assert (told["arguments"], secrets) == ({"admin_password": empty}, [])


def test_names_that_users_give_are_left_alone():
    """Metadata and properties are saved again as a whole."""
    data = {"metadata": {"admin_password": "x"}, "system_metadata": {"user_data": "y"}}
    request = {"arguments": {"instance": {"nova_object.data": data}, "image": {"new_pass": "z"}}}

    assert confidential.taken_out(request) == (request, [])


def test_secrets_of_another_request_are_not_put_into_this_one():
    """A place that is not there, or has a value."""
    for secrets in ([(("arguments", "no", "such"), "x")], [(("context", "user_id"), "x")]):
        with pytest.raises((KeyError, IndexError, TypeError)):
            confidential.put_back(copy.deepcopy(REQUEST), secrets)


@pytest.mark.parametrize("path", RECORDED)
def test_recorded_requests_have_no_other_secrets(path):
    """Recorded messages have SECRET where a secret was."""
    for message in json.loads(path.read_text()):
        request = message["request"]
        told, _ = confidential.taken_out({"context": {}, "arguments": request.get("args", {})})

        assert '"SECRET"' not in json.dumps(told), path.stem
