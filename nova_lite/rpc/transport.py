"""The connection to the message broker, as nova.conf describes it."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from nova_lite.errors import InvalidConfiguration

EXCHANGE = "nova"  # default of control_exchange in every nova service


def make(conf: cfg.ConfigOpts) -> Any:
    """The RPC transport of [DEFAULT]transport_url with [oslo_messaging_rabbit] honoured verbatim.

    :raises InvalidConfiguration: the URL cannot be parsed or names an unknown driver
    """
    import oslo_messaging as messaging

    _register_hidden_options(conf)
    messaging.set_transport_defaults(EXCHANGE)
    try:
        # None allowed: the agent understands RemoteError by its exc_type, without nova's classes.
        return messaging.get_rpc_transport(conf, allowed_remote_exmods=[])
    except (messaging.DriverLoadFailure, messaging.InvalidTransportURL) as error:
        text = str(error).replace(str(conf.transport_url), "<url>")
        raise InvalidConfiguration(f"[DEFAULT]transport_url: {text}") from None


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


def _groups(module: Any) -> list[tuple[str, list[cfg.Opt]]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if name.startswith("oslo_messaging_") and isinstance(value, list)
    ]
