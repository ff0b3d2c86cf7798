"""A console through the stock noVNC proxy, without a browser."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, unquote, urlsplit

PROXY_SECONDS = 20


class ProxyRefused(Exception):
    """The proxy did not let this connection through."""


def websocket_address(url: str) -> str:
    """The websocket behind a noVNC page: vnc_lite.html?path=%3Ftoken%3DTOKEN."""
    parts = urlsplit(url)
    path = parse_qs(parts.query)["path"][0]
    return f"ws://{parts.netloc}/{unquote(path).lstrip('/')}"


def with_token(url: str, token: str) -> str:
    """The same page with another token."""
    return f"{url.split('?')[0]}?path={quote(f'?token={token}')}"


def first_bytes(url: str, count: int) -> bytes:
    """What the guest's VNC server says first.

    :raises ProxyRefused: no connection, or one that is closed before ``count`` bytes
    """
    import websocket

    address = websocket_address(url)
    received = b""
    try:
        connection = websocket.create_connection(
            address,
            subprotocols=["binary"],
            timeout=PROXY_SECONDS,
            origin="http://" + urlsplit(address).netloc,
        )
        try:
            while len(received) < count:
                piece = connection.recv()
                if not piece:
                    raise ProxyRefused(f"closed after {received!r}")
                received += piece if isinstance(piece, bytes) else piece.encode()
        finally:
            connection.close()
    except (websocket.WebSocketException, OSError) as error:
        raise ProxyRefused(str(error)) from error
    return received
