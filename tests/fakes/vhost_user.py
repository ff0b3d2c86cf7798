"""The switch's end of a vhost-user socket: it takes any guest and moves no packet.

https://www.qemu.org/docs/master/interop/vhost-user.html
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

HEADER = struct.Struct("<III")  # request, flags, size of what follows
REPLY = 0x1 | 0x4  # version 1, and that it is an answer
GET_FEATURES, GET_VRING_BASE = 1, 11
# Request -> the number that answers it. Without CONFIGURE_MEM_SLOTS a guest whose firmware runs has
# too many pieces of memory.
NUMBERS = {
    GET_FEATURES: 1 << 30,  # F_PROTOCOL_FEATURES
    15: 1 << 15,  # GET_PROTOCOL_FEATURES: CONFIGURE_MEM_SLOTS
    36: 64,  # GET_MAX_MEM_SLOTS
}


class FakeSwitch:
    """Listens at a path (QEMU is the client), or connects to one that QEMU listens at."""

    def __init__(self) -> None:
        self.guests = 0  # that have asked for features
        self._sockets: list[socket.socket] = []

    def listen(self, path: Path) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(8)
        self._sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def connect(self, path: Path) -> None:
        guest = socket.socket(socket.AF_UNIX)
        guest.connect(str(path))
        self._serve(guest)

    def close(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(listener.accept()[0])

    def _serve(self, guest: socket.socket) -> None:
        self._sockets.append(guest)
        threading.Thread(target=self._answer, args=(guest,), daemon=True).start()

    def _answer(self, guest: socket.socket) -> None:
        # File descriptors that come along are dropped by the kernel.
        with contextlib.suppress(OSError):
            while header := guest.recv(HEADER.size, socket.MSG_WAITALL):
                request, _, size = HEADER.unpack(header)
                content = guest.recv(size, socket.MSG_WAITALL) if size else b""
                if request in NUMBERS:
                    self.guests += request == GET_FEATURES
                    number = struct.pack("<Q", NUMBERS[request])
                    guest.sendall(HEADER.pack(request, REPLY, 8) + number)
                elif request == GET_VRING_BASE:
                    guest.sendall(HEADER.pack(request, REPLY, 8) + content[:4] + bytes(4))
