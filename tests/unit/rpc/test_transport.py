"""The way to the broker, and what is said when there is none."""

from __future__ import annotations

import ssl

import amqp
import pytest

from nova_lite.errors import ControlPlaneUnavailable, InvalidConfiguration
from nova_lite.rpc import transport
from tests.fakes.conf_file import read_conf


@pytest.fixture
def configured(tmp_path):
    return lambda url: read_conf(tmp_path, {"DEFAULT": {"transport_url": url}})


@pytest.mark.parametrize(
    "url",
    [
        "rabbit://openstack:hush/hush@127.0.0.1:5672/openstack",
        "rabbit://openstack:hush@127.0.0.1:port/",
        "rabbit://openstack:hush@[::1:5672/",
        "zebra://openstack:hush@127.0.0.1",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(configured, url):
    """Where a password is not quoted, a part of it is taken for the port."""
    with pytest.raises(InvalidConfiguration, match="transport_url") as caught:
        transport.make(configured(url))

    assert "hush" not in str(caught.value)
    assert "rabbit://" in str(caught.value)


@pytest.mark.parametrize(("given", "pause"), [(None, 6), ("45", 45)])
def test_a_broker_that_comes_back_is_noticed_soon(tmp_path, given, pause):
    """Unless nova.conf says otherwise."""
    groups = {"DEFAULT": {"transport_url": "rabbit://me:hush@127.0.0.1:5672/"}}
    if given:
        groups["oslo_messaging_rabbit"] = {"rabbit_interval_max": given}
    conf = read_conf(tmp_path, groups)

    transport.make(conf)

    assert conf.oslo_messaging_rabbit.rabbit_interval_max == pause


def test_other_drivers_have_no_such_option(configured):
    """They are left alone."""
    assert transport.make(configured("fake://")) is not None


@pytest.fixture
def brokers(monkeypatch):
    """Address -> what connecting to it raises; None lets in."""
    answers = {}

    class Connection:
        def __init__(self, address, **options):
            self._answer = answers[address]

        def connect(self):
            if self._answer:
                raise self._answer

        def close(self):
            pass

    monkeypatch.setattr(amqp, "Connection", Connection)
    return answers


TWO = "rabbit://me:hush@one:5672,me:hush@two:5672/cell"


@pytest.fixture
def reach(configured):
    conf = configured(TWO)
    transport.make(conf)
    return lambda: transport.reach(conf)


def test_one_broker_of_several_is_enough(brokers, reach):
    """The others may be down for maintenance."""
    brokers["one:5672"], brokers["two:5672"] = ConnectionRefusedError(111, "refused"), None

    reach()


def test_each_broker_that_is_missing_is_named_with_its_reason(brokers, reach):
    """User, virtual host and network have different remedies; no password is shown."""
    brokers["one:5672"] = amqp.exceptions.AccessRefused("ACCESS_REFUSED")
    brokers["two:5672"] = amqp.exceptions.NotAllowed("vhost cell not found")

    with pytest.raises(ControlPlaneUnavailable) as caught:
        reach()

    text = str(caught.value)
    assert "one:5672 refuses user 'me'" in text
    assert "two:5672 does not let user 'me' into virtual host 'cell'" in text
    assert "hush" not in text


def test_a_certificate_that_is_not_accepted(brokers, reach):
    """The options to look at are named; it is not the network."""
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    brokers["one:5672"] = brokers["two:5672"] = refused

    with pytest.raises(ControlPlaneUnavailable, match="ssl_ca_file.*oslo_messaging_rabbit"):
        reach()


def test_a_broker_that_says_nothing(brokers, reach):
    """A firewall that drops packets."""
    brokers["one:5672"] = brokers["two:5672"] = TimeoutError()

    with pytest.raises(ControlPlaneUnavailable, match="does not answer within 5 s"):
        reach()


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "/var/lib/x/lock"), ({"oslo_concurrency": {"lock_path": "/run/locks"}}, "/run/locks")],
)
def test_the_queue_manager_has_a_place_for_its_lock(tmp_path, options, expected):
    """Without one use_queue_manager ends the process with the first call."""
    from oslo_concurrency import lockutils

    url = {"transport_url": "rabbit://me:hush@one/", "state_path": "/var/lib/x"}
    transport.make(read_conf(tmp_path, {"DEFAULT": url, **options}))

    assert lockutils.get_lock_path(lockutils.CONF) == expected
