"""A TCP port that leads to another one, and that a test can shut, open and cut."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading


class TcpForwarder:
    """``port`` on 127.0.0.1 leads to ``target`` while it is open.

    The port is this object's from the start; while shut, connections to it are refused.

    :param tls: what is spoken at the port; the target gets what is inside
    """

    def __init__(self, target: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._flows = threading.Event()
        self._flows.set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def open(self) -> None:
        """Let connections through."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(64)
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def shut(self) -> None:
        """Refuse new connections and break the ones there are."""
        listening, self._listening = self._listening, None
        if listening is not None:
            # Closing alone would leave the port open while a thread waits in accept().
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.cut()

    def hold(self) -> None:
        """Keep all connections, and let nothing through any more, as when a cable is pulled."""
        self._flows.clear()

    def release(self) -> None:
        """Let through what was held, and all that comes."""
        self._flows.set()

    def cut(self) -> int:
        """Break all connections; return how many there were."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            for end in link:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        return len(links)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            if self._tls is not None:
                near = self._tls.wrap_socket(
                    near, server_side=True, do_handshake_on_connect=False
                )
            with self._lock:
                self._links.append((near, far))
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with near, far, contextlib.suppress(OSError):
            if isinstance(near, ssl.SSLSocket):
                near.do_handshake()
            while True:
                ready, _, _ = select.select(list(other), [], [])
                for end in ready:
                    data = end.recv(65536)
                    # What is decrypted already shows in no select().
                    while isinstance(end, ssl.SSLSocket) and end.pending():
                        data += end.recv(65536)
                    if not data:
                        return
                    self._flows.wait()
                    other[end].sendall(data)
