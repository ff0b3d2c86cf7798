"""The start-up speaks to the broker as oslo.messaging will: the same TLS, from the same options."""

from __future__ import annotations

import oslo_messaging
import pytest
from oslo_messaging._drivers import common, impl_rabbit

from nova_lite.errors import InvalidConfiguration
from nova_lite.rpc import tls, transport
from tests.fakes.conf_file import read_conf

ONE = "rabbit://me:hush@one:5671/"
TWO = "rabbit://me:hush@one:5671,me:hush@two:5671/"


@pytest.fixture
def files(tmp_path):
    """Option -> a file that is there."""
    made = {}
    for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        made[name] = tmp_path / f"{name}.pem"
        made[name].touch()
    return made


@pytest.fixture
def configured(tmp_path, files):
    """(ConfigOpts, TransportURL) with these options; a file's option needs no value."""

    def make(url=ONE, **options):
        given = {name: files.get(name, value) for name, value in options.items()}
        conf = read_conf(
            tmp_path, {"DEFAULT": {"transport_url": url}, "oslo_messaging_rabbit": given}
        )
        transport.make(conf)
        return conf, oslo_messaging.TransportURL.parse(conf, url)

    return make


def of_oslo(monkeypatch, conf, url):
    """What oslo.messaging gives to its own connections."""
    monkeypatch.setattr(impl_rabbit.Connection, "ensure_connection", lambda self: None)
    options = common.ConfigOptsProxy(conf, url, "oslo_messaging_rabbit")
    connection = impl_rabbit.Connection(options, url, common.PURPOSE_LISTEN)
    return connection.connection.ssl, connection.connection.login_method


@pytest.mark.parametrize("url", [ONE, TWO, ONE + "?ssl=true", ONE + "?ssl=false"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ssl": "true"},
        {"ssl": "true", "ssl_ca_file": ""},
        {"ssl": "true", "ssl_cert_file": "", "ssl_key_file": ""},
        {"ssl": "true", "ssl_ca_file": "", "ssl_cert_file": "", "ssl_key_file": ""},
        {"ssl": "true", "ssl_version": "TLSv1_2"},
        {"ssl": "true", "ssl_cert_file": "", "rabbit_login_method": "EXTERNAL"},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_it_is_what_oslo_messaging_does(monkeypatch, configured, url, options):
    """Above all, ``ssl = true`` alone is TLS."""
    conf, parsed = configured(url, **options)
    ours = transport._connection(conf, parsed, parsed.hosts[0])

    expected, login_method = of_oslo(monkeypatch, conf, parsed)

    assert (ours.ssl or False) == (expected or False)
    assert [m.mechanism for m in ours.authentication] == [login_method.encode()]


def test_tls_without_any_file_is_tls(configured):
    """An empty dict would be a plain connection to amqp."""
    conf, url = configured(ssl="true")

    assert tls.parameters(tls.options(conf, url), url) is True


@pytest.mark.parametrize("name", ["ssl_ca_file", "ssl_cert_file", "ssl_key_file"])
def test_a_file_that_is_not_there(configured, files, name):
    """OpenSSL says "No such file or directory" and nothing else."""
    conf, url = configured(ssl="true", **{name: ""})
    files[name].unlink()

    with pytest.raises(InvalidConfiguration, match=f"{name} {files[name]}"):
        transport.reach(conf)


def test_a_version_that_does_not_exist(configured):
    """The option is named, with what to do."""
    conf, _ = configured(ssl="true", ssl_version="TLSv9")

    with pytest.raises(InvalidConfiguration, match="ssl_version 'TLSv9'.*leave it out"):
        transport.reach(conf)


@pytest.mark.parametrize("ignored", [True, False])
def test_a_fips_mode_that_cannot_be_enforced(monkeypatch, configured, ignored):
    """Where oslo.messaging insists on it, no connection is ever made: that is said at the start."""
    (option,) = [o for o in impl_rabbit.rabbit_opts if o.dest == "ssl_enforce_fips_mode"]
    monkeypatch.setattr(option, "deprecated_for_removal", ignored)
    conf, url = configured(ssl="true", ssl_enforce_fips_mode="true")

    if ignored:
        assert tls.parameters(tls.options(conf, url), url) is True
    else:
        with pytest.raises(InvalidConfiguration, match="ssl_enforce_fips_mode.*leave it out"):
            transport.reach(conf)
