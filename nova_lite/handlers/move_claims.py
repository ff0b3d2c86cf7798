"""drop_move_claim_at_destination: a server that was to come here does not."""

from __future__ import annotations

from typing import Any

from nova_lite.inventory.claims import Role
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


class MoveClaims:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def drop_move_claim_at_destination(
        self, context: RequestContext, instance: WireObject, **_ignored: Any
    ) -> None:
        """Release what this host has claimed for a server that stays on its host, which asks for
        it. What is claimed for a server that is here is left alone; nothing claimed is success."""
        self._tools.claims.release(str(instance["uuid"]), Role.INCOMING)
        self._tools.usage_changed()
