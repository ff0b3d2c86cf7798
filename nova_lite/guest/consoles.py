"""How users reach the guest: graphics, pointer and keyboard, serial ports, redirected USB ports."""

from __future__ import annotations

from dataclasses import dataclass

from nova_lite.errors import InvalidGuestConfig, UnsupportedByHost
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import GraphicsSpec

MOST_SERIAL_PORTS = 3  # QEMU has four; nova has always kept one


def graphics(policy: HostPolicy) -> tuple[GraphicsSpec, ...]:
    """VNC, SPICE, both or none, as nova.conf says."""
    vnc = (GraphicsSpec("vnc", policy.vnc_listen),) if policy.vnc_listen else ()
    return (*vnc, policy.spice) if policy.spice else vnc


def has_screen(policy: HostPolicy) -> bool:
    """Whether guests have a screen, and so somebody to move a pointer and to type."""
    return bool(graphics(policy))


@dataclass(frozen=True)
class Pointer:
    """``model`` is tablet, ``bus`` usb or virtio."""

    model: str
    bus: str


def pointer(properties: Properties, policy: HostPolicy) -> Pointer | None:
    """hw_input_bus, hw_pointer_model or [DEFAULT] pointer_model, in this order."""
    if policy.spice and policy.spice.agent and not policy.vnc_listen:
        return None  # the SPICE agent brings a mouse that costs less than a tablet
    bus = properties.image("hw_input_bus")
    if bus:
        return Pointer("tablet", bus)
    if properties.image("hw_pointer_model") or policy.pointer_model == "usbtablet":
        return Pointer("tablet", "usb")
    return None


def inputs(
    properties: Properties, policy: HostPolicy, machine: Machine
) -> tuple[tuple[str, str], ...]:
    """Input devices as (type, bus); only guests with graphics have any."""
    if not has_screen(policy):
        return ()
    result = []
    mouse = pointer(properties, policy)
    if mouse:
        result.append((mouse.model, mouse.bus))
    # ARM boards have no keyboard of their own; x86 has PS/2.
    bus = properties.image("hw_input_bus") or ("usb" if machine.arch == "aarch64" else None)
    if bus:
        result.append(("keyboard", bus))
    return tuple(result)


def usb_controller(
    properties: Properties, policy: HostPolicy, machine: Machine, *, needed: bool
) -> tuple[str | None, int]:
    """(USB controller model, redirected ports); no controller unless something hangs on it.

    :raises InvalidGuestConfig: redirected ports but no controller
    :raises UnsupportedByHost: redirected ports, which SPICE clients use, on a host without SPICE
    """
    model, ports = properties.agreed("usb_model"), properties.agreed("redirected_usb_ports") or 0
    if ports and not policy.spice:
        raise UnsupportedByHost(
            f"hw:redirected_usb_ports = {ports}: this host has no SPICE consoles; set "
            "[spice]enabled"
        )
    needed = needed or machine.arch == "ppc64le"
    if needed or machine.arch.startswith("ppc"):
        return None if model == "none" else model, ports
    if ports and model in (None, "none"):
        raise InvalidGuestConfig("hw:redirected_usb_ports needs a USB controller; set hw:usb_model")
    return model or "none", ports


def serial_ports(properties: Properties, policy: HostPolicy) -> int:
    """How many serial ports users can reach; an image may not ask for more than the flavor gives.

    :raises InvalidGuestConfig: it does, or there are more than QEMU can have
    """
    flavor = properties.spec("hw:serial_port_count")
    image = properties.image("hw_serial_port_count")
    if not policy.serial_host:
        return 0
    if flavor and image and image > flavor:
        raise InvalidGuestConfig(
            f"image property hw_serial_port_count = {image} is more than the flavor's "
            f"hw:serial_port_count = {flavor}"
        )
    count = image or flavor or 1
    if count > MOST_SERIAL_PORTS:
        raise InvalidGuestConfig(
            f"hw:serial_port_count = {count}: at most {MOST_SERIAL_PORTS} are possible"
        )
    return int(count)
