"""Files that were kept for a move and whose end this host has not heard of: its server was deleted,
or the agent that confirmed it did not come to remove them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

METHOD = "remove_kept"  # operations/remove_kept.py
INTERVAL_S, FIRST_S = 3600.0, 60.0
# As services/kept_disks.py names them, or one whose removal was cut off.
DIRECTORY = re.compile(r"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})_resize(?:_del)?")


class KeptDirectories:
    """Asks nobody as long as there are none.

    The first look, soon after the start, is for those that an earlier process has left.
    """

    def __init__(self, instances_path: Path, engine: Engine) -> None:
        self._instances_path = instances_path
        self._engine = engine
        self._first: set[str] | None = self._servers()

    def tick(self) -> None:
        """Have each looked at when nothing else is being done with its server."""
        found = self._servers()
        if self._first is not None:
            found &= self._first
            self._first = None
        for uuid in sorted(found):
            if self._engine.busy(uuid):
                continue
            instance = WireObject.new("Instance", VERSIONS["Instance"], uuid=uuid)
            try:
                self._engine.begin(METHOD, RequestContext.admin(), uuid, {"instance": instance})
            except NovaLiteError as error:
                LOG.error("Cannot look at what server %s has left here: %s", uuid, error)

    def of(self, uuid: str) -> bool:
        """Whether files of a server are kept here."""
        return uuid in self._servers()

    def _servers(self) -> set[str]:
        if not self._instances_path.is_dir():
            return set()
        names = (DIRECTORY.fullmatch(path.name) for path in self._instances_path.iterdir())
        return {match[1] for match in names if match}
