"""The operator's own services, asked over HTTP: answers, failures, credentials, secrets."""

from __future__ import annotations

import logging

import pytest

from nova_lite.clients.session import Sessions
from nova_lite.clients.vendor_data import GROUP, VendorServices
from nova_lite.errors import VendorDataUnavailable
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import Call, HttpCloud, Reply

SERVER = "344a9120-b410-41e7-af51-fddb339207ce"
QUESTION = {"instance-id": SERVER, "user-data": "c2VjcmV0"}


class Operator:
    """Some services of an operator; ``asked`` are the calls."""

    def __init__(self, directory):
        self.cloud, self.directory = HttpCloud(), directory
        self.asked: list[Call] = []
        self.replies = {"cmdb": Reply(200, {"rack": 7})}
        self.cloud.answer = self.answer
        self._identity = HttpCloud.answer

    def answer(self, call):
        if call.path.startswith("/identity"):
            return self._identity(self.cloud, call)
        self.asked.append(call)
        return self.replies[call.path.split("/")[1]]

    def ask(self, *targets, credentials=None, **options):
        names = targets or (f"cmdb@{self.cloud.url}/cmdb",)
        sections = {"api": {"vendordata_dynamic_targets": ",".join(names), **options}}
        if credentials:
            sections[GROUP] = credentials
        conf = read_conf(self.directory, sections)
        return VendorServices(Sessions(conf), conf).ask(SERVER, QUESTION)


@pytest.fixture
def operator(tmp_path):
    operator = Operator(tmp_path)
    yield operator
    operator.cloud.close()


def test_each_service_answers_under_its_name(operator):
    """The question is a POST of JSON; the addresses may hold an @ themselves."""
    operator.replies["other"] = Reply(200, ["a", "list"])
    url = operator.cloud.url

    found = operator.ask(f"cmdb@{url}/cmdb?mail=a@b", f"other@{url}/other")

    assert found == {"cmdb": {"rack": 7}, "other": ["a", "list"]}
    first = operator.asked[0]
    assert (first.method, first.body, first.query) == ("POST", QUESTION, {"mail": ["a@b"]})
    assert first.headers["User-Agent"] == "openstack-nova-vendordata"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(500, {}), "HTTP 500"),
        (Reply(404, {}), "HTTP 404"),
        (Reply(200, b"<html>"), "no JSON"),
        (Reply(drop=True), "Connect"),
    ],
)
def test_a_service_that_gives_no_answer(operator, reply, reason):
    """It says nothing, or nothing is built, as the operator wants; the address is not told."""
    operator.replies["cmdb"] = reply
    target = f"cmdb@{operator.cloud.url.replace('//', '//user:hush@')}/cmdb"

    assert operator.ask(target) == {"cmdb": {}}
    with pytest.raises(VendorDataUnavailable, match=f"service cmdb .*{reason}") as caught:
        operator.ask(target, vendordata_dynamic_failure_fatal="true")
    assert "hush" not in str(caught.value)


def test_targets_that_make_no_sense_are_left_out(operator, caplog):
    """Each is named in the log."""
    url = operator.cloud.url

    found = operator.ask(f"cmdb@{url}/cmdb", f"cmdb@{url}/nobody", "nothing")

    assert found == {"cmdb": {"rack": 7}}
    assert "second target named cmdb" in caplog.text and "nothing is left out" in caplog.text


def test_only_credentials_for_them_are_sent_to_them(operator):
    """Those of the group, never those by which the agent speaks to OpenStack."""
    operator.ask()
    assert "X-Auth-Token" not in operator.asked[0].headers

    operator.ask(credentials=operator.cloud.credentials("vendor"))
    assert operator.cloud.tokens[operator.asked[1].headers["X-Auth-Token"]] == "vendor"


def test_wrong_credentials_are_a_failure_like_others(operator):
    """The server is built without, unless the operator says otherwise."""
    wrong = operator.cloud.credentials("vendor", "wrong")

    assert operator.ask(credentials=wrong) == {"cmdb": {}}
    assert operator.asked == []


def test_user_data_are_in_no_log(operator, caplog):
    """They may hold secrets."""
    with caplog.at_level(logging.DEBUG):
        operator.ask()
    assert "c2VjcmV0" not in caplog.text
