"""keystoneauth's own options (credentials, TLS, endpoint) for the groups that talk to a service.

The names are keystoneauth's, as nova.conf has them: auth_type, auth_url, username ..., cafile,
timeout ..., region_name, valid_interfaces, endpoint_override ...
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

INTERFACES = ["internal", "public"]  # nova's default order of preference


def opts(service_type: str | None = None) -> list[Any]:
    """Session, adapter and common auth options; ``service_type`` is the default of that option.

    The options of the auth plugin itself (username, password ...) are registered by keystoneauth
    when auth_type is known.
    """
    from keystoneauth1 import loading

    found = [
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    defaults = {"valid_interfaces": INTERFACES, "service_type": service_type}
    for opt in found:
        if opt.dest in defaults:
            opt.default = defaults[opt.dest]
    return found


def sample_opts(service_type: str | None = None) -> list[Any]:
    """The same with the options of the usual plugin (password), for oslo-config-generator."""
    from keystoneauth1 import loading

    return [*opts(service_type), *loading.get_auth_plugin_conf_options("password")]


def register(conf: cfg.ConfigOpts, group: str, service_type: str | None = None) -> None:
    """Register the options in ``group``; one that the group already has stays as it is."""
    for opt in opts(service_type):
        try:
            conf.register_opt(opt, group=group)
        except cfg.DuplicateOptError:
            continue
