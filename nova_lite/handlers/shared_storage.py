"""check_instance_shared_storage: another host asks whether this one has a server's files, too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.errors import MalformedMessage
from nova_lite.services.shared_storage import is_there
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)


class SharedStorage:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    def check_instance_shared_storage(
        self, context: RequestContext, data: Mapping[str, Any], **_ignored: Any
    ) -> bool:
        """Whether the file is here that the other host has made in the directory of a server.

        :param data: ``filename``, as nova-compute's libvirt driver sends it
        :raises MalformedMessage: there is no such thing in it
        """
        filename = data.get("filename") if isinstance(data, Mapping) else None
        if not isinstance(filename, str):
            raise MalformedMessage(
                "check_instance_shared_storage asks for no filename; check that the sender is a "
                "nova-compute with libvirt"
            )
        instances_path = Path(self._tools.conf.instances_path)
        found = is_there(instances_path, filename)
        LOG.info("Another host has made a file below %s: this host %s", instances_path,
                 "has it, too" if found else "does not have it")  # fmt: skip
        return found
