"""TCP ports for the serial consoles of guests.

The guests' definitions are the only record of ports in use, so that a killed agent neither
allocates a port twice nor leaks one. Ports that are chosen and not yet defined are kept in memory.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from typing import Any

from nova_lite.clock import SYSTEM, Clock
from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import InvalidConfiguration, SerialPortsExhausted
from nova_lite.services.power_state import is_on

CHOICE_S = 600.0  # seconds after which a choice that no guest was defined with is given up


class SerialPorts:
    """Chooses ports of [serial_console]port_range; safe to use from several threads."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        host: str,
        ports: range,
        *,
        free: Callable[[str, int], bool] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """
        :param host: address on which the ports listen
        :param ports: the range to choose from
        :param free: tells whether nobody listens on (host, port); by default it is tried
        """
        self._clock = clock
        self._hypervisor = hypervisor
        self._host = host
        self._ports = ports
        self._free = free or listenable
        self._lock = threading.Lock()
        self._chosen: dict[str, tuple[float, tuple[int, ...]]] = {}

    @classmethod
    def from_conf(cls, conf: Any, hypervisor: Hypervisor, clock: Clock = SYSTEM) -> SerialPorts:
        """:raises InvalidConfiguration: the range is empty or too high"""
        options = conf.serial_console
        ports = port_range(options.port_range)
        return cls(hypervisor, options.proxyclient_address, ports, clock=clock)

    def of(self, uuid: str, count: int) -> tuple[int, ...]:
        """``count`` ports for this server: those it has already where they are still good.

        :raises SerialPortsExhausted: there are not that many free ones
        """
        if not count:
            return ()
        # Who chooses has seen every choice made before: the world is read under the lock.
        with self._lock:
            defined = {
                server: tuple(port.port for port in ports)
                for server, ports in self._hypervisor.all_serial_ports().items()
            }
            self._forget_settled(defined)
            own = defined.pop(uuid, ())
            taken = {port for ports in defined.values() for port in ports}
            taken |= {
                port
                for server, (_, ports) in self._chosen.items()
                for port in ports
                if server != uuid
            }
            ports = self._kept(uuid, own, taken, count) or self._new(taken, count)
            self._chosen[uuid] = (self._clock.monotonic(), ports)
            return ports

    def forget(self, uuid: str) -> None:
        """Free the ports of a server whose guest was removed."""
        with self._lock:
            self._chosen.pop(uuid, None)

    def _forget_settled(self, defined: dict[str, tuple[int, ...]]) -> None:
        now = self._clock.monotonic()
        for server, (since, ports) in list(self._chosen.items()):
            if set(ports) <= set(defined.get(server, ())) or now - since > CHOICE_S:
                del self._chosen[server]

    def _kept(
        self, uuid: str, own: tuple[int, ...], taken: set[int], count: int
    ) -> tuple[int, ...]:
        if len(own) != count or taken & set(own) or not set(own) <= set(self._ports):
            return ()
        # A running guest itself is who listens there.
        if is_on(self._hypervisor, uuid) or all(self._free(self._host, port) for port in own):
            return own
        return ()

    def _new(self, taken: set[int], count: int) -> tuple[int, ...]:
        found: list[int] = []
        for port in self._ports:
            if port not in taken and self._free(self._host, port):
                found.append(port)
                if len(found) == count:
                    return tuple(found)
        raise SerialPortsExhausted(
            f"No free TCP port is left for a serial console on {self._host}: widen "
            f"[serial_console]port_range, which is {self._ports.start}:{self._ports.stop}"
        )


def port_range(text: str) -> range:
    """Parse [serial_console]port_range; the end is not part of it.

    :raises InvalidConfiguration: it is empty, or beyond what TCP has
    """
    start, stop = map(int, text.split(":"))
    if not 0 < start < stop <= 65536:
        raise InvalidConfiguration(
            f"[serial_console] port_range = {text} is not FIRST:END with FIRST below END and both "
            "between 1 and 65536"
        )
    return range(start, stop)


def listenable(host: str, port: int) -> bool:
    """Whether the port is free; other errors of the address are left to the hypervisor."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
    return True
