"""The methods of the compute RPC API that are answered at once: name -> handler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nova_lite.engine.engine import Engine
from nova_lite.errors import JournalError
from nova_lite.handlers.console_log import ConsoleLog
from nova_lite.handlers.consoles import Consoles
from nova_lite.handlers.diagnostics import Diagnostics
from nova_lite.handlers.external_events import ExternalEvents
from nova_lite.handlers.host import Host
from nova_lite.handlers.images import Images
from nova_lite.handlers.move_claims import MoveClaims
from nova_lite.handlers.network_refresh import DeletedPorts, NetworkRefresh
from nova_lite.handlers.shared_storage import SharedStorage
from nova_lite.services.ownership import Place
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


def handlers(tools: Toolbox, engine: Engine) -> dict[str, Callable[..., Any]]:
    """The whole table."""
    consoles, host, diagnostics = Consoles(tools), Host(tools), Diagnostics(tools)
    refresh = NetworkRefresh(tools, engine).changed
    detach, extend = DeletedPorts(tools, engine).detach, _extend(tools, engine)
    events = ExternalEvents(tools.events, refresh, detach, extend)
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
        "check_instance_shared_storage": SharedStorage(tools).check_instance_shared_storage,
        "drop_move_claim_at_destination": MoveClaims(tools).drop_move_claim_at_destination,
        "external_instance_event": events.external_instance_event,
        "get_diagnostics": diagnostics.get_diagnostics,
        "get_instance_diagnostics": diagnostics.get_instance_diagnostics,
    }


def _extend(
    tools: Toolbox, engine: Engine
) -> Callable[[RequestContext, WireObject, list[str]], Future[bool] | None]:
    """Begins to extend volumes of servers that are here; both hosts of a move hear of it.

    On return that is in the journal. Where it cannot be written, the user is told: what comes back
    says when they were, as ``Engine.refuse`` does.
    """

    def extend(
        context: RequestContext, instance: WireObject, volume_ids: list[str]
    ) -> Future[bool] | None:
        if tools.ownership.place(instance) is not Place.HERE:
            return None
        uuid, arguments = str(instance["uuid"]), {"instance": instance, "volume_ids": volume_ids}
        try:
            engine.begin("extend_volumes", context, uuid, arguments)
        except JournalError as error:
            LOG.error("Refused to extend volumes of server %s: %s", uuid, error)
            return engine.refuse("extend_volumes", context, uuid, arguments, error)
        return None

    return extend
