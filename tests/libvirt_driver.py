"""The libvirt driver at a private libvirtd, for the tests of several levels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

from oslo_config import cfg

from nova_lite.conf import libvirt as libvirt_options
from nova_lite.conf import live_migration
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor

Driver = TypeVar("Driver", bound=Hypervisor)


def driver_at(uri: str, **options: Any) -> LibvirtHypervisor:
    """A driver for emulated guests, not connected yet.

    :param options: other options of [libvirt] by name
    """
    conf = cfg.ConfigOpts()
    conf.register_opts(libvirt_options.OPTS, group=libvirt_options.GROUP)
    conf.register_opts(live_migration.OPTS, group=live_migration.GROUP)
    conf([])
    for name, value in {"virt_type": "qemu", "connection_uri": uri, **options}.items():
        conf.set_override(name, value, group="libvirt")
    return LibvirtHypervisor(conf)


@contextlib.contextmanager
def connected(driver: Driver) -> Iterator[Driver]:
    """The driver with its connection; its guests are removed in the end."""
    driver.connect()
    yield driver
    for guest in driver.domains():
        driver.destroy(guest.uuid)
        driver.undefine(guest.uuid)
    driver.close()
