"""One operation's subject and memory, shared by its steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nova_lite.model.server import Server
from nova_lite.wire import decode
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

if TYPE_CHECKING:
    from nova_lite.services.toolbox import Toolbox


class Interrupted(Exception):
    """A step gave up waiting because ``Work.cancelled`` was set; the engine knows why it was."""


@dataclass
class Work:
    """One operation's subject and memory.

    ``notes`` holds what earlier steps found out (read it with ``notes[...]``, write with ``note``,
    which is durable); ``cancelled`` is set when the user deletes the server meanwhile or the agent
    stops: whoever waits looks at it and raises Interrupted. ``resumed`` says that an earlier
    process began the operation, ``arrived`` when this one got it (seconds of the monotonic clock).
    ``reading`` is held while records are read that steps share: steps of a stage run side by side,
    and must not change different copies.
    """

    context: RequestContext
    tools: Toolbox
    instance: WireObject
    arguments: Mapping[str, Any]
    notes: Mapping[str, Any]
    note: Callable[..., None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    mappings: list[WireObject] | None = None
    shares: list[WireObject] | None = None
    resumed: bool = False
    arrived: float = field(default_factory=time.monotonic)
    reading: threading.RLock = field(default_factory=threading.RLock)
    _server: Server | None = None

    @property
    def server(self) -> Server:
        """The server in the model's terms, decoded when first needed."""
        if self._server is None:
            self._server = decode.server(
                self.instance,
                name_template=self.tools.conf.instance_name_template,
                context=self.context,
                image_dict=self.arguments.get("image"),
            )
        return self._server

    @property
    def uuid(self) -> str:
        return str(self.instance["uuid"])

    def reload(self) -> None:
        """Fetch the instance with everything an operation may need, in one call."""
        self.instance = self.tools.instances.get(self.context, self.uuid)
        self._server = None
