"""A RabbitMQ that speaks TLS only, and only with those who have a certificate."""

from __future__ import annotations

import pytest

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.peers.client import Peers
from nova_lite.rpc import transport
from nova_lite.wire.context import RequestContext
from tests.fakes.certificates import Authority
from tests.fakes.conf_file import read_conf
from tests.fakes.private_broker import PrivateBroker, missing
from tests.functional.messaging.conftest import Agent, ServiceRecords

ADMIN = RequestContext.admin()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory, authority):
    if reason := missing():
        pytest.skip(reason)
    made = PrivateBroker(tmp_path_factory.mktemp("tls-broker"), authority)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def client(authority):
    """Options of who may connect; the common name is the user of login method EXTERNAL."""
    own = authority.sign("guest")
    return {
        "ssl": "true",
        "ssl_ca_file": authority.file,
        "ssl_cert_file": own.certificate,
        "ssl_key_file": own.key,
    }


@pytest.fixture
def configured(tls_broker, tmp_path):
    """A ConfigOpts with these options of [oslo_messaging_rabbit]."""

    def make(options, query="", name="nova"):
        folder = tmp_path / name
        folder.mkdir()
        url = f"{tls_broker.url}{query}"
        conf = read_conf(
            folder,
            {"DEFAULT": {"transport_url": url, "host": name}, "oslo_messaging_rabbit": options},
        )
        transport.make(conf).cleanup()
        return conf

    return make


@pytest.mark.core
def test_an_agent_joins_by_certificate(configured, client, tmp_path):
    """The start-up gets in, and then the agent itself, with the same options."""
    conf = configured(client, name="one")
    transport.reach(conf)
    agent = Agent("one", tmp_path / "one")
    asking = transport.make(conf)

    try:
        assert Peers(asking, conf, ServiceRecords({"one": 72})).ping("one") < 10
        assert transport.waiting(conf, ["compute.one"]) == 0
        assert transport.carries(conf)
    finally:
        asking.cleanup()
        agent.kill()


def test_the_system_knows_the_authority(configured, client, authority, monkeypatch):
    """``ssl = true`` without ssl_ca_file: not a plain connection, as an agent before took it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    transport.reach(configured({**client, "ssl_ca_file": ""}))


def test_the_certificate_names_the_user(configured, client):
    """Neither user nor password of transport_url count."""
    conf = configured({**client, "rabbit_login_method": "EXTERNAL"})
    conf.set_override("transport_url", conf.transport_url.replace("guest:guest", "no:body"))

    transport.reach(conf)


def test_options_in_the_url(configured, client):
    """oslo.messaging reads them there, too."""
    query = "&".join(f"{name}={value}" for name, value in client.items())

    transport.reach(configured({}, f"?{query}"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ssl_cert_file": "", "ssl_key_file": ""}, "ssl_cert_file"),
        ({"ssl_ca_file": ""}, "ssl_ca_file"),
        ({"ssl": "false"}, "does not answer"),
    ],
    ids=["no certificate of ours", "unknown authority", "plain"],
)
def test_what_is_wrong_is_said(configured, client, changed, said):
    """And waited for, not given up: another broker may be right."""
    with pytest.raises(ControlPlaneUnavailable, match=said):
        transport.reach(configured({**client, **changed}))
