"""What nova.conf says where its values say more than their types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_lite.conf import unread
from nova_lite.drivers import disk
from nova_lite.drivers.disk import direct_io
from nova_lite.errors import InvalidConfiguration
from nova_lite.guest.policy import HostPolicy, cpu_set
from nova_lite.inventory.numa_host import reserved_pages
from nova_lite.notifications import periods
from nova_lite.peers import versions
from nova_lite.services.serial_ports import port_range

# nova.conf's compute_driver -> our hypervisor driver.
HYPERVISORS = {"libvirt.LibvirtDriver": "libvirt", "libvirt": "libvirt"}


def check(conf: Any) -> None:
    """Options whose values say more than their types, and those that must not be ignored.

    :raises InvalidConfiguration: names the option
    """
    unread.refuse(conf)
    disk.from_conf(conf)
    for name in ("cpu_shared_set", "cpu_dedicated_set"):
        cpu_set(name, conf.compute[name])
    reserved_pages(conf.reserved_huge_pages or ())
    periods.parse(conf.instance_usage_audit_period)
    port_range(conf.serial_console.port_range)
    versions.pinned(conf.upgrade_levels.compute)


def host_policy(conf: Any) -> HostPolicy:
    """What nova.conf says about guests, with what it leaves to the machine."""
    from importlib import metadata

    return HostPolicy.from_conf(
        conf,
        direct_io=direct_io.supported(Path(conf.instances_path)),
        machine_id=_first_line("/etc/machine-id"),
        hardware_id=_first_line("/sys/class/dmi/id/product_uuid"),
        package_version=metadata.version("nova-lite"),
    )


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def hypervisor_name(conf: Any) -> str:
    """The entry point of [DEFAULT]compute_driver in ``nova_lite.hypervisor``.

    :raises InvalidConfiguration: it is another driver of nova-compute
    """
    name = HYPERVISORS.get(conf.compute_driver, conf.compute_driver)
    if "." in name:
        raise InvalidConfiguration(
            f"[DEFAULT]compute_driver is {name!r}; nova_lite drives libvirt: use "
            "libvirt.LibvirtDriver, or the name of an installed nova_lite.hypervisor driver"
        )
    return str(name)
