"""One operation's subject and memory, shared by its steps."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nova_lite.errors import RequestSecretsLost
from nova_lite.model.server import Image, Server
from nova_lite.services.notes import checked
from nova_lite.services.ownership import Place, place
from nova_lite.wire import decode
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

if TYPE_CHECKING:
    from nova_lite.services.toolbox import Toolbox


class Interrupted(Exception):
    """A step gave up waiting because ``Work.cancelled`` was set; the engine knows why it was."""


class Signal(enum.Enum):
    """What a promised or running operation may be told, and what the engine makes of it."""

    DELETE = "delete"  # its server is being deleted: ServerBeingDeleted, roll back
    DRAIN = "drain"  # the agent stops: end at a step boundary, go on at the next start
    ABORT = "abort"  # its user wants it no more: roll back, unless there is no way back
    FORCE_COMPLETE = "force-complete"  # its user wants it done at any cost; a step may look at it


ENDS_WAITING = frozenset({Signal.DELETE, Signal.DRAIN, Signal.ABORT})


class Signals:
    """The signals that an operation was given. Safe between threads."""

    def __init__(self) -> None:
        self.ends_waiting = threading.Event()
        self._lock = threading.Lock()
        self._given: frozenset[Signal] = frozenset()

    def give(self, signal: Signal) -> None:
        with self._lock:
            self._set(self._given | {signal})

    def drop(self, signal: Signal) -> None:
        """Take a signal back that came too late."""
        with self._lock:
            self._set(self._given - {signal})

    def __contains__(self, signal: Signal) -> bool:
        return signal in self._given

    def _set(self, given: frozenset[Signal]) -> None:
        self._given = given
        if given & ENDS_WAITING:
            self.ends_waiting.set()
        else:
            self.ends_waiting.clear()


@dataclass
class Work:
    """One operation's subject and memory.

    ``notes`` holds what earlier steps found out: read it with the records of ``services/notes.py``,
    write with ``note``, which is durable. ``signals`` are what the operation was told meanwhile;
    ``cancelled`` is set by those that end waiting: a step that waits looks at it and raises
    Interrupted.

    ``resumed`` says that an earlier process began the operation, ``rebooted`` that the host lost
    power or was rebooted since: taps are gone, guests are off, and any step may have been begun.
    ``arrived`` is when this process got it (seconds of the monotonic clock). ``past_return``: the
    point of no return is behind it. ``lost`` are the names of secrets that the request had and the
    host has forgotten (see :meth:`require`). ``left``: names of the steps that could not be taken
    back.
    ``snapshot`` is the image of a server's own disk that its root disk is made from, where no
    argument of the request describes it.
    ``reading`` is held while records are read that steps share: steps of a stage run side by side,
    and must not change different copies.
    """

    context: RequestContext
    tools: Toolbox
    instance: WireObject
    arguments: Mapping[str, Any]
    notes: Mapping[str, Any]
    note: Callable[..., None]
    signals: Signals = field(default_factory=Signals)
    mappings: list[WireObject] | None = None
    shares: list[WireObject] | None = None
    resumed: bool = False
    rebooted: bool = False
    past_return: bool = False
    lost: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    arrived: float = field(default_factory=time.monotonic)
    reading: threading.RLock = field(default_factory=threading.RLock)
    snapshot: Image | None = None
    _server: Server | None = None

    def __post_init__(self) -> None:
        self.note = checked(self.note)

    @property
    def cancelled(self) -> threading.Event:
        """Set when nobody wants the operation to wait any longer."""
        return self.signals.ends_waiting

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

    def decode_again(self) -> None:
        """The record was changed in what ``server`` is made from."""
        self._server = None

    @property
    def root_image(self) -> Image:
        """What the root disk is made from: the server's image, or the snapshot that a shelved
        server is unshelved from, or that came from another cell. Its ``id`` is None for a server
        that boots from a volume."""
        if self.snapshot is not None:
            return self.snapshot
        own, asked = self.server.image, self.arguments.get("image")
        if not own.id or not asked or asked.get("id") in (None, own.id):
            return own
        return decode.image(asked)

    @property
    def uuid(self) -> str:
        return str(self.instance["uuid"])

    @property
    def here(self) -> bool:
        """Whether the record, as last read, names this host."""
        return place(self.instance, self.tools.host) is Place.HERE

    @property
    def elsewhere(self) -> bool:
        """Whether the record, as last read, says that the server is another host's."""
        return place(self.instance, self.tools.host) is Place.ELSEWHERE

    def require(self, *secrets: str) -> None:
        """See that none of these secrets of the request is lost; call it before they are used.

        :raises RequestSecretsLost: one is, for the host has lost power since it was asked
        """
        gone = self.lost.intersection(secrets)
        if gone:
            raise RequestSecretsLost(gone)

    def reload(self) -> None:
        """Fetch the instance with everything an operation may need, in one call."""
        self.instance = self.tools.instances.get(self.context, self.uuid)
        self._server = None
