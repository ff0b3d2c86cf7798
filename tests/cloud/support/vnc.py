"""Consoles through the stock proxies, without a browser."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

PROXY_SECONDS = 20
# What a SPICE client says first: header (magic, version 2.2, size of the rest), then connection,
# kind of channel (main), channel, no capabilities. https://www.spice-space.org/spice-protocol.html
SPICE_HELLO = b"REDQ" + struct.pack("<III", 2, 2, 18) + struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)


class ProxyRefused(Exception):
    """The proxy did not let this connection through."""


def websocket_address(url: str) -> str:
    """The websocket behind a console's URL.

    noVNC's page has the token in the path of its websocket (?path=%3Ftoken%3DTOKEN), SPICE's page
    in its own (?token=TOKEN); a serial console's URL is the websocket's.
    """
    parts = urlsplit(url)
    path = parse_qs(parts.query).get("path")
    target = unquote(path[0]).lstrip("/") if path else f"?{parts.query}"
    return f"ws://{parts.netloc}/{target}"


def with_token(url: str, token: str) -> str:
    """The same console with another token."""
    base, query = url.split("?")
    novnc = "path=" in query
    return f"{base}?path={quote(f'?token={token}')}" if novnc else f"{base}?token={token}"


@contextmanager
def opened(url: str) -> Iterator[Any]:
    """A websocket to a console.

    :raises ProxyRefused: no connection, or one that breaks
    """
    import websocket

    address = websocket_address(url)
    try:
        connection = websocket.create_connection(
            address,
            subprotocols=["binary"],
            timeout=PROXY_SECONDS,
            origin="http://" + urlsplit(address).netloc,
        )
        try:
            yield connection
        finally:
            connection.close()
    except (websocket.WebSocketException, OSError) as error:
        raise ProxyRefused(str(error)) from error


def first_bytes(url: str, count: int, hello: bytes = b"") -> bytes:
    """What the guest's console says first, or in answer to ``hello``.

    :raises ProxyRefused: no connection, or one that is closed before ``count`` bytes
    """
    received = b""
    with opened(url) as connection:
        if hello:
            connection.send_binary(hello)
        while len(received) < count:
            received += _piece(connection, received)
    return received[:count]


def typed(url: str, keys: bytes, wanted: bytes, seconds: float = 60) -> bytes:
    """Press keys on a serial console every second until it says ``wanted``; all that it said.

    :raises ProxyRefused: it does not, or is closed
    """
    import websocket

    received, deadline = b"", time.monotonic() + seconds
    with opened(url) as connection:
        connection.settimeout(1)
        while wanted not in received:
            if time.monotonic() > deadline:
                raise ProxyRefused(f"said only {received[-500:]!r}")
            connection.send_binary(keys)
            try:
                received += _piece(connection, received)
            except websocket.WebSocketTimeoutException:
                continue
    return received


def _piece(connection: Any, received: bytes) -> bytes:
    piece = connection.recv()
    if not piece:
        raise ProxyRefused(f"closed after {received!r}")
    return piece if isinstance(piece, bytes) else piece.encode()
