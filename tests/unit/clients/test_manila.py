"""The Manila client: what it sends, and what refusals become."""

from __future__ import annotations

import pytest

from nova_lite import errors
from nova_lite.clients.manila import Manila
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext
from tests.fakes.cloud import Ledger
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply
from tests.fakes.manila import Rules, serve

SHARE = "6ef63586-a730-4d59-b436-e71e4468e202"
REQUEST = "req-6ef63586-a730-4d59-b436-e71e4468e203"
ALICE = RequestContext({"auth_token": "alice-token", "project_id": "alice", "request_id": REQUEST})
HOST = ("ip", "192.0.2.1")


class Service:
    """A Manila on HTTP; ``reply`` takes the place of its next answer."""

    def __init__(self, directory):
        self.cloud, self.rules = HttpCloud(), Rules(Ledger(directory / "ledger.json"))
        self.reply = None
        self.cloud.services["share"] = ("sharev2", self._answer)
        self.rules.add_share(SHARE)

    def _answer(self, call):
        reply, self.reply = self.reply, None
        return reply or serve(self.rules, call)


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path)
    yield made
    made.cloud.close()


@pytest.fixture
def manila(service, tmp_path):
    own = {**service.cloud.credentials("nova"), "connect_retry_delay": "0.01",
           "status_code_retry_delay": "0.01"}  # fmt: skip
    return Manila(Sessions(read_conf(tmp_path, {"manila": own})))


def test_a_host_is_let_in_once_and_shut_out(manila):
    """A rule is made, found, and taken away; taking it away again is success."""
    assert manila.access_rule(ALICE, SHARE, *HOST) is None
    manila.allow(ALICE, SHARE, *HOST, "for a server")
    rule = manila.access_rule(ALICE, SHARE, *HOST)

    with pytest.raises(errors.ShareAccessGrantError, match="exists"):
        manila.allow(ALICE, SHARE, *HOST, "for a server")
    manila.deny(ALICE, SHARE, rule.id)
    manila.deny(ALICE, SHARE, rule.id)

    assert manila.access_rule(ALICE, SHARE, *HOST) is None


def test_users_can_neither_see_nor_take_away_what_lets_a_host_in(service, manila):
    """The rule is made with the agent's own credentials, and locked."""
    manila.allow(ALICE, SHARE, *HOST, "for a server")

    call = service.cloud.calls[-1]
    assert service.cloud.tokens[call.headers["X-Auth-Token"]] == "nova"
    assert call.headers["X-OpenStack-Manila-API-Version"] == "2.82"
    assert call.headers["X-OpenStack-Request-ID"] == REQUEST
    assert call.path == f"/v2/shares/{SHARE}/action"
    assert call.body == {
        "allow_access": {
            "access_type": "ip", "access_to": "192.0.2.1", "access_level": "rw",
            "lock_visibility": True, "lock_deletion": True, "lock_reason": "for a server",
        }
    }  # fmt: skip


def test_the_key_of_an_identity_is_told_but_not_shown(manila):
    """It opens the share to whoever has it."""
    manila.allow(ALICE, SHARE, "cephx", "nova-1", "for a server")
    rule = manila.access_rule(ALICE, SHARE, "cephx", "nova-1")

    assert rule.access_key == "AQ=="
    assert "AQ==" not in repr(rule)


def test_a_share_that_is_gone(manila):
    """Manila has two ways to say it."""
    for call in (
        lambda: manila.access_rule(ALICE, "gone", *HOST),
        lambda: manila.allow(ALICE, "gone", *HOST, "for a server"),
    ):
        with pytest.raises(errors.ShareNotFound, match="gone"):
            call()
    manila.deny(ALICE, "gone", "rule")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, errors.ShareAccessRemovalError),
        (409, errors.ShareAccessRemovalError),
        (500, errors.ShareServiceUnavailable),
        (503, errors.ShareServiceUnavailable),
    ],
)
def test_refusals_say_why(service, manila, status, expected):
    """What may be otherwise in a moment is tried again by whoever asked."""
    service.reply = Reply(status, {"whatever": {"message": "it is like that"}})

    with pytest.raises(expected, match="it is like that"):
        manila.deny(ALICE, SHARE, "rule")


def test_a_lost_answer_does_not_make_a_second_rule(service, manila):
    """Whoever repeats it looks first."""
    service.reply = Reply(drop=True)
    with pytest.raises(errors.ShareServiceUnavailable):
        manila.allow(ALICE, SHARE, *HOST, "for a server")
    asked = [call for call in service.cloud.calls if call.method == "POST"]
    assert len(asked) == 1


def test_a_catalog_without_manila_is_named(service, manila):
    """Rather than an error of a library."""
    _, answer = service.cloud.services.pop("share")
    service.cloud.services["image"] = ("image", answer)
    with pytest.raises(errors.InvalidConfiguration, match="shared-file-system"):
        manila.access_rule(ALICE, SHARE, *HOST)
