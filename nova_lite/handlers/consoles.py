"""Consoles that users open in a browser or with a client: VNC, SPICE, serial."""

from __future__ import annotations

import urllib.parse
from typing import Any, NoReturn

from nova_lite import errors
from nova_lite.model.host import ConsoleAddress
from nova_lite.model.states import NOT_ON
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

VNC, SPICE, SERIAL = "vnc", "spice", "serial"
NOVNC, HTML5, DIRECT = "novnc", "spice-html5", "spice-direct"
# What the API calls a console -> what the guest has.
KINDS = {NOVNC: VNC, HTML5: SPICE, DIRECT: SPICE, SERIAL: SERIAL}


class Consoles:
    """Creates console tokens, which a console proxy exchanges for the guest's address."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def get_vnc_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> dict[str, Any]:
        """A token and URL for the guest's VNC console (type ``novnc``)."""
        vnc = self._tools.conf.vnc
        _check(VNC, console_type, vnc.enabled)
        address = self._address(instance, VNC)
        return self._opened(
            context,
            instance,
            console_type,
            vnc.novncproxy_base_url,
            host=vnc.server_proxyclient_address,
            port=address.port,
        )

    def get_spice_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> dict[str, Any]:
        """A token and URL for the guest's SPICE console (``spice-html5``, ``spice-direct``)."""
        spice = self._tools.conf.spice
        _check(SPICE, console_type, spice.enabled)
        address = self._address(instance, SPICE)
        base = spice.html5proxy_base_url
        if console_type == DIRECT:
            base = spice.spice_direct_proxy_base_url
        answer = self._opened(
            context,
            instance,
            console_type,
            base,
            host=spice.server_proxyclient_address,
            port=address.port,
            tls_port=address.tls_port,
        )
        return {**answer, "tlsPort": address.tls_port}

    def get_serial_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> dict[str, Any]:
        """A token and URL for the guest's first serial port."""
        options = self._tools.conf.serial_console
        _check(SERIAL, console_type, options.enabled)
        address = self._address(instance, SERIAL)
        return self._opened(
            context,
            instance,
            console_type,
            options.base_url,
            host=address.host,
            port=address.port,
        )

    def get_mks_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> NoReturn:
        """Refused: libvirt has no such console."""
        raise _unavailable(console_type)

    def get_rdp_console(
        self, context: RequestContext, instance: WireObject, console_type: str, **_ignored: Any
    ) -> NoReturn:
        """Refused: it belonged to Hyper-V, which Nova no longer supports."""
        raise NotImplementedError("RDP consoles left Nova together with Hyper-V")

    def validate_console_port(
        self,
        context: RequestContext,
        instance: WireObject,
        port: int | str,
        console_type: str,
        **_ignored: Any,
    ) -> bool:
        """Whether the guest's console still listens on ``port``; the proxy asks on connecting."""
        kind = KINDS.get(console_type)
        try:
            return kind is not None and str(self._address(instance, kind).port) == str(port)
        except errors.NovaLiteError:
            return False

    def _address(self, instance: WireObject, kind: str) -> ConsoleAddress:
        """:raises ServerNotReady: the guest is off; ConsoleTypeUnavailable: it was made without"""
        uuid, hypervisor = str(instance["uuid"]), self._tools.hypervisor
        try:
            if kind == SERIAL:
                address = next(iter(hypervisor.serial_ports(uuid)), None)
            else:
                address = hypervisor.graphics(uuid, kind)
            if address is not None:
                return address
            is_off = hypervisor.power_state(uuid) in NOT_ON
        except errors.DomainNotFound:
            raise errors.ServerNotReady(f"Instance {uuid} is not ready") from None
        if is_off:
            raise errors.ServerNotReady(f"Instance {uuid} is not ready: its console is off")
        raise _unavailable(kind)

    def _opened(
        self,
        context: RequestContext,
        instance: WireObject,
        console_type: str,
        base_url: str,
        **where: Any,
    ) -> dict[str, Any]:
        token = self._tools.console_tokens.authorize(
            context,
            self._tools.conf.consoleauth.token_ttl,
            console_type=console_type,
            internal_access_path=None,
            instance_uuid=str(instance["uuid"]),
            access_url_base=base_url,
            **where,
        )
        return {
            "host": where["host"],
            "port": where["port"],
            "internal_access_path": None,
            "token": token,
            "access_url": access_url(console_type, base_url, token),
        }


def access_url(console_type: str, base: str, token: str) -> str:
    """URL for the user; noVNC's page wants the token in the path of its websocket."""
    if console_type != NOVNC:
        return f"{base}?token={token}"
    parts = urllib.parse.urlparse(base)
    query = urllib.parse.parse_qs(parts.query)
    query["path"] = [f"{query.get('path', [''])[0]}?token={token}"]
    return parts._replace(query=urllib.parse.urlencode(query, doseq=True)).geturl()


def _check(kind: str, console_type: str, enabled: bool) -> None:
    """:raises ConsoleTypeUnavailable: not on this host; ConsoleTypeInvalid: no such type"""
    if not enabled:
        raise _unavailable(console_type)
    if KINDS.get(console_type) != kind:
        raise errors.ConsoleTypeInvalid(f"Invalid console type {console_type}")


def _unavailable(console_type: str) -> errors.ConsoleTypeUnavailable:
    return errors.ConsoleTypeUnavailable(f"Unavailable console type {console_type}.")
