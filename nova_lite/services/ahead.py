"""What a boot needs in a moment, read and loaded in the background from its beginning on."""

from __future__ import annotations

import logging
import threading

from nova_lite.errors import NovaLiteError
from nova_lite.services.interfaces import requested_ports
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)


def look_ahead(work: Work) -> None:
    """Read the requested networks and load what plugs ports, while the server is taken.

    What fails is met again by the step that needs it, and reported there.
    """
    threading.Thread(target=_look_ahead, args=(work,), name="look-ahead", daemon=True).start()


def _look_ahead(work: Work) -> None:
    try:
        work.tools.ports.read_ahead(work.context, requested_ports(work))
        work.tools.vif_driver.prepare()
    except NovaLiteError as error:
        LOG.debug("Boot of server %s looks ahead in vain: %s", work.uuid, error)
    except Exception:
        LOG.debug("Boot of server %s looks ahead in vain", work.uuid, exc_info=True)
