"""The connection to the message broker, as nova.conf describes it."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from oslo_config import cfg

from nova_lite.errors import ControlPlaneUnavailable, InvalidConfiguration
from nova_lite.rpc import tls

T = TypeVar("T")

HOW_TO_WRITE = (
    "it is like rabbit://USER:PASSWORD@HOST:PORT/VHOST, with / @ : and # of user and password "
    "written as %2F %40 %3A and %23"
)
LOGIN_TIMEOUT_S = 5.0
EXCHANGE = "nova"  # default of control_exchange in every nova service
# Longest pause (seconds) between two attempts to reach a broker that is away; oslo.messaging's own
# default is 30, so that a connection might notice half a minute late that the broker is back.
RECONNECT_PAUSE = 6


def make(conf: cfg.ConfigOpts) -> Any:
    """The RPC transport of [DEFAULT]transport_url with [oslo_messaging_rabbit] honoured verbatim.

    :raises InvalidConfiguration: the URL cannot be parsed or names an unknown driver
    """
    import oslo_messaging as messaging

    _register_hidden_options(conf)
    _set_lock_path(conf)
    messaging.set_transport_defaults(EXCHANGE)
    try:
        # None allowed: the agent understands RemoteError by its exc_type, without nova's classes.
        transport = messaging.get_rpc_transport(conf, allowed_remote_exmods=[])
    except messaging.DriverLoadFailure as error:
        raise InvalidConfiguration(
            f"[DEFAULT]transport_url asks for the driver {error.driver!r}, which is not there; "
            f"{HOW_TO_WRITE}"
        ) from None
    except (messaging.InvalidTransportURL, ValueError):
        # Its text would be a part of the URL, and of the password where that is not quoted.
        raise InvalidConfiguration(
            f"[DEFAULT]transport_url cannot be read; {HOW_TO_WRITE}"
        ) from None
    if "oslo_messaging_rabbit" in conf:
        # Connections are made later, and read it then. What nova.conf says has precedence.
        conf.set_default("rabbit_interval_max", RECONNECT_PAUSE, group="oslo_messaging_rabbit")
    return transport


def reach(conf: cfg.ConfigOpts) -> None:
    """Log in to the first broker of transport_url that lets us, and leave again.

    oslo.messaging itself waits for a broker without an end and without a word to us.

    :raises ControlPlaneUnavailable: none does; says of each what is wrong
    :raises InvalidConfiguration: the options of TLS make no sense
    """
    import oslo_messaging as messaging

    url = messaging.TransportURL.parse(conf, conf.transport_url)
    if url.transport != "rabbit" or not url.hosts:
        return  # not a broker that we know how to ask
    problems = []
    for host in url.hosts:
        problem = login(conf, url, host)
        if not problem:
            return
        problems.append(f"{host.hostname}:{host.port or 5672} {problem}")
    raise ControlPlaneUnavailable(
        f"the message broker {', '.join(problems)}; check [DEFAULT]transport_url and the broker"
    )


def login(conf: cfg.ConfigOpts, url: Any, host: Any) -> str:
    """What went wrong at one broker of ``url`` (a TransportURL); empty when nothing did.

    :param host: a TransportHost of the url
    :raises InvalidConfiguration: the options of TLS make no sense
    """
    import amqp

    connection = _connection(conf, url, host)
    try:
        connection.connect()
        connection.close()
    except amqp.exceptions.AccessRefused:
        return f"refuses {_identity(conf, url, host)}"
    except amqp.exceptions.NotAllowed:
        return (
            f"does not let {_identity(conf, url, host)} into virtual host "
            f"{url.virtual_host or '/'!r}"
        )
    except TimeoutError:
        return f"does not answer within {LOGIN_TIMEOUT_S:.0f} s"
    except ssl.SSLError as error:
        return (
            f"does not get on with us in TLS: {error}; check ssl, ssl_ca_file, ssl_cert_file and "
            f"ssl_key_file of [{tls.GROUP}] and the broker's certificate"
        )
    except (OSError, amqp.exceptions.AMQPError) as error:
        return f"does not answer: {error or type(error).__name__}"
    return ""


def _identity(conf: cfg.ConfigOpts, url: Any, host: Any) -> str:
    """Who we are to the broker."""
    if tls.options(conf, url).rabbit_login_method == "EXTERNAL":
        return "the user of our certificate"
    return f"user {host.username!r}"


def waiting(conf: cfg.ConfigOpts, queues: Sequence[str]) -> int | None:
    """How many messages wait in queues, not counting those that were handed out.

    A queue that is not there has none.

    :return: None where no broker can be asked: none answers, or it is not RabbitMQ
    """
    return _first_answer(
        conf, lambda connection: sum(_ready(connection, queue) for queue in queues)
    )


def carries(conf: cfg.ConfigOpts) -> bool:
    """Whether a broker takes a message and hands it out again.

    One that is short of memory or disk lets us in and takes nothing.
    """
    return bool(_first_answer(conf, _carried))


def _first_answer(conf: cfg.ConfigOpts, ask: Callable[[Any], T]) -> T | None:
    """What the first broker of transport_url answers; None where none does."""
    import amqp
    import oslo_messaging as messaging

    url = messaging.TransportURL.parse(conf, conf.transport_url)
    for host in url.hosts if url.transport == "rabbit" else ():
        try:
            connection = _connection(conf, url, host)
        except InvalidConfiguration:
            return None  # a certificate that is just being replaced
        try:
            connection.connect()
            return ask(connection)
        except (OSError, amqp.exceptions.AMQPError):
            continue
        finally:
            with contextlib.suppress(OSError, amqp.exceptions.AMQPError):
                connection.close()
    return None


def _carried(connection: Any) -> bool:
    """Send a message to a queue of this connection's own, and get it back.

    :raises OSError: there is no answer within LOGIN_TIMEOUT_S
    """
    import amqp

    channel = connection.channel()
    queue = channel.queue_declare(queue="", exclusive=True, auto_delete=True).queue
    channel.basic_publish(amqp.Message(b"?"), routing_key=queue)
    deadline = time.monotonic() + LOGIN_TIMEOUT_S
    while channel.basic_get(queue, no_ack=True) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


def _ready(connection: Any, queue: str) -> int:
    import amqp

    channel = connection.channel()
    try:
        count: int = channel.queue_declare(queue=queue, passive=True).message_count
    except amqp.exceptions.NotFound:
        return 0  # the broker has closed the channel
    channel.close()
    return count


def _connection(conf: cfg.ConfigOpts, url: Any, host: Any) -> Any:
    """A connection to one broker that is not opened yet; ``host`` is a TransportHost of ``url``.

    :raises InvalidConfiguration: the options of TLS make no sense
    """
    import amqp

    options = tls.options(conf, url)
    address = f"[{host.hostname}]" if ":" in host.hostname else host.hostname
    return amqp.Connection(
        f"{address}:{host.port or 5672}",
        userid=host.username or "guest",
        password=host.password or "guest",
        login_method=options.rabbit_login_method,
        virtual_host=url.virtual_host or "/",
        ssl=tls.parameters(options, url),
        connect_timeout=LOGIN_TIMEOUT_S,
        read_timeout=LOGIN_TIMEOUT_S,
        write_timeout=LOGIN_TIMEOUT_S,
    )


def _register_hidden_options(conf: cfg.ConfigOpts) -> None:
    """oslo.messaging registers these on the global CONF and reads them from the one it is given."""
    from oslo_messaging._metrics import client as metrics

    conf.register_opts(metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    try:
        from oslo_messaging._tracing import client as tracing
    except ImportError:
        return  # releases before the tracing of 2026.1
    for group, opts in _groups(tracing):
        conf.register_opts(opts, group=group)


def _set_lock_path(conf: cfg.ConfigOpts) -> None:
    """Where use_queue_manager keeps its lock; oslo.messaging asks the global CONF for it."""
    from oslo_concurrency import lockutils

    lockutils.set_defaults(conf.oslo_concurrency.lock_path or str(Path(conf.state_path) / "lock"))


def _groups(module: Any) -> list[tuple[str, list[cfg.Opt]]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if name.startswith("oslo_messaging_") and isinstance(value, list)
    ]
