"""Console output and graphical consoles."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

from nova_lite import errors
from nova_lite.model.host import ConsoleAddress
from nova_lite.steps.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG_LIMIT = 100 * 1024  # bytes of the console log that a caller gets, as with stock
VNC, NOVNC = "vnc", "novnc"


class Consoles:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def get_console_output(
        self,
        context: RequestContext,
        instance: WireObject,
        tail_length: int | str | None = None,
        **_ignored: Any,
    ) -> str:
        """The last ``tail_length`` lines (all: None) of the guest's serial console."""
        uuid = str(instance["uuid"])
        if not self._tools.hypervisor.defined(uuid):
            raise errors.ServerNotReady(f"Instance {uuid} is not ready: it has no guest yet")
        path = Path(self._tools.conf.instances_path) / uuid / "console.log"
        try:
            content = _tail(path, LOG_LIMIT)
        except FileNotFoundError:
            raise errors.ConsoleNotAvailable(
                f"Guest of instance {uuid} does not have a console available"
            ) from None
        text = content.decode("ascii", "replace").replace("\ufffd", "?")
        if tail_length is None or str(tail_length) == "":
            return text
        try:
            count = int(tail_length)
        except ValueError:
            raise errors.MalformedMessage(
                f"tail_length is {tail_length!r}; it must be a number of lines"
            ) from None
        if count < 0:
            return text
        return "\n".join(text.split("\n")[-count:]) if count else ""

    def get_vnc_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> dict[str, Any]:
        """A token and URL for the guest's VNC console (type ``novnc``)."""
        vnc = self._tools.conf.vnc
        if not vnc.enabled:
            raise errors.ConsoleTypeUnavailable(f"Unavailable console type {console_type}.")
        if console_type != NOVNC:
            raise errors.ConsoleTypeInvalid(f"Invalid console type {console_type}")
        uuid = str(instance["uuid"])
        address = self._address(uuid, VNC)
        token = self._tools.console_tokens.authorize(
            context,
            self._tools.conf.consoleauth.token_ttl,
            console_type=console_type,
            host=vnc.server_proxyclient_address,
            port=address.port,
            internal_access_path=None,
            instance_uuid=uuid,
            access_url_base=vnc.novncproxy_base_url,
        )
        return {
            "host": vnc.server_proxyclient_address,
            "port": address.port,
            "internal_access_path": None,
            "token": token,
            "access_url": access_url(vnc.novncproxy_base_url, token),
        }

    def validate_console_port(
        self,
        context: RequestContext,
        instance: WireObject,
        port: int | str,
        console_type: str,
        **_ignored: Any,
    ) -> bool:
        """Whether the guest's console still listens on ``port``; the proxy asks on connecting."""
        if console_type not in (NOVNC, VNC):
            return False
        try:
            return str(self._address(str(instance["uuid"]), VNC).port) == str(port)
        except errors.NovaLiteError:
            return False

    def _address(self, uuid: str, kind: str) -> ConsoleAddress:
        try:
            address = self._tools.hypervisor.graphics(uuid, kind)
        except errors.DomainNotFound:
            raise errors.ServerNotReady(f"Instance {uuid} is not ready") from None
        if address is None:
            raise errors.ServerNotReady(f"Instance {uuid} is not ready: its console is off")
        return address


def access_url(base: str, token: str) -> str:
    """URL of the noVNC page; noVNC takes the token from the path of its websocket."""
    parts = urllib.parse.urlparse(base)
    query = urllib.parse.parse_qs(parts.query)
    query["path"] = [f"?token={token}"]
    return parts._replace(query=urllib.parse.urlencode(query, doseq=True)).geturl()


def _tail(path: Path, limit: int) -> bytes:
    """The last ``limit`` bytes of a log and, when it is shorter, of the one rotated before it."""
    content = b""
    for part in (path, path.with_name(path.name + ".0")):
        try:
            with open(part, "rb") as file:
                size = file.seek(0, 2)
                wanted = min(size, limit - len(content))
                file.seek(size - wanted)
                content = file.read(wanted) + content
        except FileNotFoundError:
            if part == path:
                raise
        if len(content) >= limit:
            break
    return content
