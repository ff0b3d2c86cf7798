"""Servers that were evacuated from this host: begins to remove what is left of them here.

At start, before anything is resumed on their behalf; when this host was cut off from the cloud and
is back, for the agent then ran all the time, and so may their guests; and again as long as the
records say that it was not done to its end.
"""

from __future__ import annotations

import logging
import threading

from nova_lite.conductor.migrations import Migrations
from nova_lite.engine.engine import Engine
from nova_lite.errors import NovaLiteError
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

METHOD = "remove_evacuated"  # operations/remove_evacuated.py


class EvacuatedServers:
    """Safe to be asked by several threads."""

    def __init__(self, host: str, migrations: Migrations, engine: Engine) -> None:
        self._host = host
        self._migrations = migrations
        self._engine = engine
        self._lock = threading.Lock()
        self._begun: set[str] = set()

    def look(self) -> set[str]:
        """Ask for evacuations from this host; returns their servers, which are being removed.

        One conductor call (MigrationList.get_by_filters).

        :raises ControlPlaneUnavailable: nobody can be asked now
        """
        context = RequestContext.admin()
        found = {
            str(migration["instance_uuid"])
            for migration in self._migrations.evacuated_from(context, self._host)
        }
        for uuid in sorted(found):
            try:
                self._begin(uuid)
            except NovaLiteError as error:
                LOG.error("Cannot begin to remove evacuated server %s: %s", uuid, error)
        with self._lock:
            self._begun &= found
        return found

    def _begin(self, uuid: str) -> None:
        with self._lock:
            if uuid in self._begun and self._engine.busy(uuid):
                return
            self._begun.add(uuid)
        instance = WireObject.new("Instance", VERSIONS["Instance"], uuid=uuid)
        self._engine.begin(METHOD, RequestContext.admin(), uuid, {"instance": instance})
