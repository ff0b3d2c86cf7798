"""Network devices of the host, made and removed with ip(8): taps, bridges, VLANs, settings of VFs.

All of it may be repeated. https://man7.org/linux/man-pages/man8/ip-link.8.html
"""

from __future__ import annotations

import re
from pathlib import Path

from nova_lite.drivers.disk import process
from nova_lite.errors import DiskError, VifPlugError

NET = Path("/sys/class/net")
IP_S = 30.0  # seconds for one command: the kernel may wait for hardware
MULTI_QUEUE = 0x0100  # in tun_flags: IFF_MULTI_QUEUE of linux/if_tun.h
GONE = re.compile("Cannot find device|does not exist|No such device")


def exists(name: str) -> bool:
    """Whether the host has the device."""
    return (NET / name).exists()


def make_tap(
    name: str, *, port_id: str, mac: str | None, mtu: int | None, queues: int | None
) -> None:
    """Make a tap for a guest with that many queues, and switch it on.

    :raises VifPlugError: ip(8) says why not
    """
    what = f"make tap {name} of port {port_id}"
    remove_unless_usable(name, queues=queues)
    if not exists(name):
        multi = ("multi_queue",) if (queues or 1) > 1 else ()
        _make(what, name, "tuntap", "add", "dev", name, "mode", "tap", *multi)
    address = ("address", mac) if mac else ()
    size = ("mtu", str(mtu)) if mtu else ()
    _ip(what, "link", "set", "dev", name, *address, *size, "up")


def remove_unless_usable(name: str, *, queues: int | None) -> None:
    """Remove a tap that a guest with that many queues cannot open: it was made for another flavor
    or image, and the kernel does not change it."""
    try:
        flags = int((NET / name / "tun_flags").read_text(), 16)
    except OSError:
        return
    if bool(flags & MULTI_QUEUE) != ((queues or 1) > 1):
        remove(name)


def make_bridge(name: str, *, port_id: str) -> None:
    """Make a bridge that forwards at once and has no addresses, and switch it on.

    :raises VifPlugError: ip(8) says why not
    """
    what = f"make bridge {name} for port {port_id}"
    if not exists(name):
        options = ("forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
        _make(what, name, "link", "add", "name", name, "type", "bridge", *options)
        _ip(what, "link", "set", "dev", name, "addrgenmode", "none")
    _ip(what, "link", "set", "dev", name, "up")


def make_vlan(name: str, parent: str, vlan: int, *, port_id: str) -> None:
    """Make the interface ``name`` of a VLAN on the interface ``parent``, and switch it on.

    :raises VifPlugError: ip(8) says why not
    """
    what = f"make VLAN {vlan} on {parent} for port {port_id}"
    if not exists(name):
        _make(what, name, "link", "add", "link", parent, "name", name, "type", "vlan",
              "id", str(vlan))  # fmt: skip
    _ip(what, "link", "set", "dev", name, "up")


def set_vf(parent: str, number: int, *settings: str, port_id: str) -> None:
    """Change settings of a virtual function that its physical function ``parent`` keeps.

    :raises VifPlugError: ip(8) says why not
    """
    what = f"set VF {number} of {parent} for port {port_id}"
    _ip(what, "link", "set", "dev", parent, "vf", str(number), *settings)


def set_device(name: str, *settings: str, port_id: str) -> None:
    """Change settings of a device.

    :raises VifPlugError: ip(8) says why not
    """
    _ip(f"set {name} for port {port_id}", "link", "set", "dev", name, *settings)


def remove(name: str, *, port_id: str | None = None) -> None:
    """Remove a device; nothing to remove is success.

    :raises VifPlugError: ip(8) says why not
    """
    what = f"remove {name}" + (f" of port {port_id}" if port_id else "")
    try:
        if exists(name):
            _ip(what, "link", "delete", "dev", name)
    except VifPlugError as error:
        if not GONE.search(error.message):  # somebody was faster
            raise


def _make(what: str, name: str, *arguments: str) -> None:
    try:
        _ip(what, *arguments)
    except VifPlugError:
        if not exists(name):  # another server's port may have needed it at the same time
            raise


def _ip(what: str, *arguments: str) -> None:
    try:
        process.run("ip", *arguments, timeout_s=IP_S, packages={"ip": "iproute2"})
    except DiskError as error:
        raise VifPlugError(f"cannot {what}: {error.message}") from error
