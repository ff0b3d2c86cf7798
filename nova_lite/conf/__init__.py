"""Configuration options, one file per group, under nova.conf's own names and defaults.

Every module offers ``GROUP`` (None for [DEFAULT]) and ``OPTS``; a ConfigOpts is always passed in.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from oslo_config import cfg

from nova_lite.conf import (
    agent,
    api,
    capacity,
    cinder,
    compute,
    configdrive,
    consoleauth,
    default,
    filter_scheduler,
    glance,
    image_cache,
    key_manager,
    libvirt,
    live_migration,
    manila,
    neutron,
    notifications,
    oslo_concurrency,
    placement,
    serial_console,
    service_user,
    shelve,
    spice,
    upgrade_levels,
    vendordata,
    vnc,
    workarounds,
)

MODULES: tuple[ModuleType, ...] = (
    default,
    agent,
    api,
    capacity,
    cinder,
    compute,
    configdrive,
    consoleauth,
    filter_scheduler,
    glance,
    image_cache,
    key_manager,
    libvirt,
    live_migration,
    manila,
    neutron,
    notifications,
    oslo_concurrency,
    placement,
    serial_console,
    service_user,
    shelve,
    spice,
    upgrade_levels,
    vendordata,
    vnc,
    workarounds,
)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register every option of the agent on ``conf``."""
    for module in MODULES:
        conf.register_opts(module.OPTS, group=module.GROUP)


def list_opts() -> list[tuple[str | None, list[Any]]]:
    """Options by group, for oslo-config-generator."""
    groups: dict[str | None, list[Any]] = {}
    for module in MODULES:
        groups.setdefault(module.GROUP, []).extend(module.OPTS)
        if hasattr(module, "sample_opts"):  # registered by keystoneauth, at first use
            groups[module.GROUP].extend(module.sample_opts())
    return list(groups.items())
