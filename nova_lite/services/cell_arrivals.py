"""Servers from other cells that are here, until nova-conductor is seen to have taken them over: one
file for each.

nova-conductor may still give up when this host has answered that a server is there. It deletes the
record then, and the server goes on where it was. Nobody tells this host, and nothing in the
database leads to it: what is needed to remove the server is in the file, but no secrets.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.drivers.disk import durable
from nova_lite.services.toolbox import Toolbox
from nova_lite.services.volumes import volume_mappings
from nova_lite.services.work import Work
from nova_lite.wire import confidential, connection_info
from nova_lite.wire.objects import WireObject, unwrap

LOG = logging.getLogger(__name__)


class CellArrivals:
    """The files, below ``state_path``."""

    def __init__(self, tools: Toolbox) -> None:
        self._directory = Path(tools.conf.state_path) / "nova-lite" / "cell-arrivals"

    def note(self, work: Work) -> None:
        """Note a server whose volumes are connected; it survives a power failure."""
        kinds = {}
        for mapping in volume_mappings(work):
            volume_id = str(mapping.get("volume_id"))
            connection = connection_info.load(mapping.get("connection_info"), volume_id)
            if connection is not None:
                kinds[volume_id] = connection.type
        kept = {"instance": confidential.without(unwrap(work.instance)), "volumes": kinds}
        durable.make_directory(self._directory, 0o700)
        with durable.made_whole(self._directory / work.uuid, 0o600) as part:
            part.write_text(json.dumps(kept))

    def forget(self, server_uuid: str) -> None:
        """The server is like any other, or gone."""
        path = self._directory / server_uuid
        if path.exists():
            path.unlink()
            durable.sync(self._directory)

    def servers(self) -> list[str]:
        """The uuids of the servers that are noted."""
        if not self._directory.is_dir():
            return []
        names = [path.name for path in self._directory.iterdir()]
        return sorted(name for name in names if not name.endswith(durable.PART))

    def read(self, server_uuid: str) -> tuple[WireObject, Mapping[str, Any]] | None:
        """The server as it was noted, and volume id -> kind of its connection; None: not noted."""
        try:
            kept = json.loads((self._directory / server_uuid).read_text())
            return WireObject(kept["instance"]), kept["volumes"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            LOG.error("Cannot read %s: %s; look whether server %s is on this host, though the "
                      "database has no record of it",
                      self._directory / server_uuid, error, server_uuid)  # fmt: skip
            return None
