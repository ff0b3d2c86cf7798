"""Nothing in a recording opens anything: no token, no password, no key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cloud.support.devcloud import DevCloud
from tests.wire import recorded
from tests.wire.recorder.neutral import SECRET, TOKEN, Machine, neutral

FILES = sorted(path for path in recorded.DATA.rglob("*.json*"))
OPENS = re.compile(r"gAAAA|PRIVATE KEY|Traceback \(most recent|AQ[\w+/]{36}==")
IN_URL = re.compile(r"://[^/\s\"]*:(?!SECRET@)[^/\s\"@]*@")
# Wider than what the recorder looks for.
SOUNDS_SECRET = re.compile(r"pass(word|phrase)?$|_pass|token|secret|keyring|private|credential")
HARMLESS = {
    "secret_uuid", "secret_type", "encryption_secret_uuid", "vtpm_secret_uuid",
    "ConsoleAuthToken",  # a class, with its version
}  # fmt: skip


def documents(path: Path):
    """JSON values of a file: one, or one a line."""
    text = path.read_text()
    return [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]


def pairs(value):
    """Keys with their values, in JSON within JSON as well."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return
    if isinstance(value, dict):
        yield from value.items()
        for item in value.values():
            yield from pairs(item)
    elif isinstance(value, list):
        for item in value:
            yield from pairs(item)


def told(value):
    """Keys that sound like those of a secret, and what is told of it."""
    for key, item in pairs(value):
        if SOUNDS_SECRET.search(key.lower()) and key not in HARMLESS:
            if isinstance(item, str) and item not in ("", SECRET, TOKEN):
                yield key, item


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(recorded.DATA)))
def test_no_token_password_or_key(path):
    """By what it looks like, and by its name."""
    assert not OPENS.search(path.read_text())
    assert not IN_URL.search(path.read_text())
    assert list(told(documents(path))) == []


def test_no_password_of_the_cloud_on_this_machine():
    """It may be the one that they were recorded on."""
    cloud = DevCloud()
    if not (cloud.state / "etc" / "secrets").exists():
        return
    # The id of its Ceph is in every connection of a volume, and opens nothing.
    words = [word for name, word in cloud.secrets().items() if name != "CEPH_ID"]
    words += [str(cloud.state)]
    for path in FILES:
        text = path.read_text()
        assert not any(word in text for word in words), path


SECRETS = {
    "_context_auth_token": "gAAAAABoXb2n-0123456789abcdefghijkl==",
    "admin_password": "a-made-up-one",
    "connection_info": json.dumps({"data": {"keyring": "[client]", "secret_uuid": "457eb676"}}),
    "text": "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n",
    "failure": json.dumps({"tb": ["Traceback (most recent call last):\n", "x"]}),
    "url": "http://127.0.0.1/?token=b023156a-5fa8-4b67-881b-dcf3cc6e8474",
    "transport_url": "rabbit://openstack:0123abcd@127.0.0.1:5672/openstack",
    "token": "b023156a-5fa8-4b67-881b-dcf3cc6e8474",
    "note": "the broker has rabbit-password; see /srv/cloud/log of build-host",
    "other": "gAAAAABoXb2n-0123456789abcdefghijkl",
}


def test_the_recorder_takes_them_out():
    """By name, by form, and again where else they are; the rest stays."""
    machine = Machine("/srv/cloud", ["rabbit-password"], ["node1", "build-host"])

    found = neutral({"request": SECRETS, "replies": None, "routing_key": "compute.build-host"},
                    machine)  # fmt: skip

    request = found["request"]
    assert request["_context_auth_token"] == request["admin_password"] == SECRET
    assert json.loads(request["connection_info"]) == {
        "data": {"keyring": SECRET, "secret_uuid": "457eb676"}
    }
    assert request["text"] == f"{SECRET}\n"
    assert json.loads(request["failure"]) == {"tb": ["TRACEBACK"]}
    assert request["url"] == f"http://127.0.0.1/?token={TOKEN}"
    assert request["transport_url"] == f"rabbit://openstack:{SECRET}@127.0.0.1:5672/openstack"
    assert request["note"] == f"the broker has {SECRET}; see /var/lib/cloud/log of node11"
    assert request["other"] == TOKEN
    assert found["routing_key"] == "compute.node11"
    assert not OPENS.search(json.dumps(found)) and not IN_URL.search(json.dumps(found))
    assert IN_URL.search(json.dumps(SECRETS))
    assert list(told(found)) == []
    assert list(told(SECRETS))
