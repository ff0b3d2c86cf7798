"""TLS to the message broker, as oslo.messaging reads it from [oslo_messaging_rabbit].

The start-up asks the broker itself (``transport.reach``) and must do so in the same way: what
oslo.messaging gives to its connections is in ``_fetch_ssl_params`` of
oslo_messaging/_drivers/impl_rabbit.py.
"""

from __future__ import annotations

import ssl
from typing import Any

from nova_lite.errors import InvalidConfiguration

GROUP = "oslo_messaging_rabbit"
# Option -> what amqp calls it.
_FILES = {"ssl_ca_file": "ca_certs", "ssl_cert_file": "certfile", "ssl_key_file": "keyfile"}


def options(conf: Any, url: Any) -> Any:
    """The values of [oslo_messaging_rabbit]; those in the query of transport_url have precedence
    (``rabbit://...:5671/?ssl=true``).

    :param url: a TransportURL
    """
    from oslo_messaging._drivers import common

    return getattr(common.ConfigOptsProxy(conf, url, GROUP), GROUP)


def parameters(values: Any, url: Any) -> dict[str, Any] | bool:
    """What amqp.Connection takes as ``ssl``; False where the connection is a plain one.

    :param values: see :func:`options`
    :param url: a TransportURL
    :raises InvalidConfiguration: a file cannot be read; there is no such version, or no FIPS mode
    """
    if not values.ssl:
        return False
    if values.ssl_enforce_fips_mode:
        _check_fips_mode()
    given: dict[str, Any] = {}
    if values.ssl_version:
        given["ssl_version"] = _version(values.ssl_version)
    for name, key in _FILES.items():
        path = getattr(values, name)
        if path:
            _check_readable(name, path)
            given[key] = path
    if "ca_certs" in given:
        given["cert_reqs"] = ssl.CERT_REQUIRED
        given.update(_hostname(url))
    return given or True  # an empty dict would mean none to amqp


def _version(name: str) -> Any:
    from oslo_messaging._drivers import impl_rabbit

    try:
        return impl_rabbit.Connection.validate_ssl_version(name)
    except RuntimeError:
        raise InvalidConfiguration(
            f"[{GROUP}]ssl_version {name!r} is not known here: leave it out, which takes the best "
            "version that the broker knows, too"
        ) from None


def _check_fips_mode() -> None:
    """oslo.messaging before 18 makes no connection where it cannot enforce it; later releases leave
    it to OpenSSL."""
    from oslo_messaging._drivers import impl_rabbit

    option = next(opt for opt in impl_rabbit.rabbit_opts if opt.dest == "ssl_enforce_fips_mode")
    if not option.deprecated_for_removal and not hasattr(ssl, "FIPS_mode"):
        raise InvalidConfiguration(
            f"[{GROUP}]ssl_enforce_fips_mode cannot be had with this Python: leave it out, and "
            "have OpenSSL enforce FIPS mode for the whole system"
        )


def _hostname(url: Any) -> dict[str, Any]:
    """The name that the certificate must have; releases of oslo.messaging before 18 ask for none.

    With several brokers there is none, as one set of parameters serves them all.
    """
    from oslo_messaging._drivers import impl_rabbit

    find = getattr(impl_rabbit.Connection, "_get_ssl_server_hostname", None)
    return {} if find is None else {"server_hostname": find(url)}


def _check_readable(name: str, path: str) -> None:
    """OpenSSL's own error would not name the file."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InvalidConfiguration(
            f"[{GROUP}]{name} {path} cannot be read: {error.strerror}; check the path and its "
            "permissions"
        ) from None
