"""What the host holds and how much of it is used, reported when it changes and only then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.conductor.services import ComputeNodes
from nova_lite.inventory import node as node_facts
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


class Inventory:
    """``look`` reads the host and returns (ComputeNode fields, provider state); ``sync`` brings
    Placement to that state."""

    def __init__(
        self,
        nodes: ComputeNodes,
        record: WireObject,
        look: Callable[[], tuple[Mapping[str, Any], Any]],
        sync: Callable[[Any], None],
    ) -> None:
        self._nodes = nodes
        self._record = record
        self._look = look
        self._sync = sync
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Report what differs from what was reported last."""
        with self._lock:
            fields, provider = self._look()
            changed = node_facts.changed(self._record.data, fields)
            if changed:
                self._nodes.save(RequestContext.admin(), self._record, **changed)
            self._sync(provider)
