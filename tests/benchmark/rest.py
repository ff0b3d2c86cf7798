"""REST calls of one host's agent, as they pass the loopback device of the host.

The services are reached through a port of each host's own, so whatever asks there is the agent.
Nothing is encrypted in this cloud, and a request's first line comes first in a packet.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cloud.support.devcloud import DevCloud

SERVICES = {
    5000: "Keystone",
    9696: "Neutron",
    9292: "Glance",
    8778: "Placement",
    8776: "Cinder",
}
FIRST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
CLONE_NEWNET = 0x40000000
ETH_P_IP = 0x0800


@dataclass(frozen=True)
class RestCall:
    """One request as it left the host."""

    time: float  # time.time()
    service: str
    method: str
    path: str  # with its query

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class RestCalls:
    """Those of a period."""

    calls: list[RestCall] = field(default_factory=list)

    def of(self, service: str) -> list[RestCall]:
        return [call for call in self.calls if call.service == service]


@contextmanager
def rest_calls(cloud: DevCloud, node: str) -> Iterator[RestCalls]:
    """Record what the agent of a host asks while the block runs; needs root."""
    found, stop = RestCalls(), threading.Event()
    with _tap(cloud.agent(node).pid) as tap:
        reader = threading.Thread(target=_read, args=(tap, found, stop), daemon=True)
        reader.start()
        try:
            yield found
            time.sleep(0.3)
        finally:
            stop.set()
            reader.join(5)


def _tap(pid: int) -> socket.socket:
    """A socket that sees the loopback device of a process's network namespace."""
    made: list[socket.socket] = []

    def enter() -> None:  # the namespace is one of the thread's, which ends
        with open(f"/proc/{pid}/ns/net") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        tap.bind(("lo", ETH_P_IP))
        tap.settimeout(0.2)
        made.append(tap)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if not made:
        raise RuntimeError(f"cannot look into the network of process {pid}: are you root?")
    return made[0]


def _read(tap: socket.socket, found: RestCalls, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            packet, address = tap.recvfrom(65535)
        except TimeoutError:
            continue
        # Each packet passes the loopback device twice.
        if address[2] != socket.PACKET_OUTGOING and (call := parse(packet)) is not None:
            found.calls.append(call)


def parse(packet: bytes) -> RestCall | None:
    """The request to a known service that begins in an IPv4 packet."""
    header = (packet[0] & 15) * 4
    if packet[9] != socket.IPPROTO_TCP or len(packet) < header + 20:
        return None
    (port,) = struct.unpack_from("!H", packet, header + 2)
    if port not in SERVICES:
        return None
    line = FIRST_LINE.match(packet, header + (packet[header + 12] >> 4) * 4)
    if line is None:
        return None
    return RestCall(time.time(), SERVICES[port], line[1].decode(), line[2].decode())
