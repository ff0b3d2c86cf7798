"""The methods of the compute RPC API that are answered at once: name -> who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nova_lite.engine.engine import Engine
from nova_lite.handlers.console_log import ConsoleLog
from nova_lite.handlers.consoles import Consoles
from nova_lite.handlers.diagnostics import Diagnostics
from nova_lite.handlers.external_events import ExternalEvents
from nova_lite.handlers.host import Host
from nova_lite.handlers.images import Images
from nova_lite.handlers.network_refresh import NetworkRefresh
from nova_lite.services.ownership import Place
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


def handlers(tools: Toolbox, engine: Engine) -> dict[str, Callable[..., Any]]:
    """The whole table."""
    consoles, host, diagnostics = Consoles(tools), Host(tools), Diagnostics(tools)
    events = ExternalEvents(tools.events, NetworkRefresh(tools, engine).ask, _extend(tools, engine))
    return {
        "get_console_output": ConsoleLog(tools).get_console_output,
        "get_vnc_console": consoles.get_vnc_console,
        "get_spice_console": consoles.get_spice_console,
        "get_serial_console": consoles.get_serial_console,
        "get_mks_console": consoles.get_mks_console,
        "get_rdp_console": consoles.get_rdp_console,
        "validate_console_port": consoles.validate_console_port,
        "cache_images": Images(tools).cache_images,
        "set_host_enabled": host.set_host_enabled,
        "get_host_uptime": host.get_host_uptime,
        "external_instance_event": events.external_instance_event,
        "get_diagnostics": diagnostics.get_diagnostics,
        "get_instance_diagnostics": diagnostics.get_instance_diagnostics,
    }


def _extend(
    tools: Toolbox, engine: Engine
) -> Callable[[RequestContext, WireObject, list[str]], None]:
    """Begins to extend volumes of servers that are here; both hosts of a move hear of it."""

    def extend(context: RequestContext, instance: WireObject, volume_ids: list[str]) -> None:
        if tools.ownership.place(instance) is Place.HERE:
            arguments = {"instance": instance, "volume_ids": volume_ids}
            engine.begin("extend_volumes", context, str(instance["uuid"]), arguments)

    return extend
