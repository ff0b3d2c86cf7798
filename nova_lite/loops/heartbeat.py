"""The heartbeat: a host whose report_count stops growing is down after service_down_time.

Then its servers may be evacuated, though the agent runs, because it cannot reach the cloud.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from nova_lite.conductor.services import Services
from nova_lite.errors import HostIdentityError
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class Heartbeat:
    def __init__(
        self,
        services: Services,
        service: WireObject,
        down_time: float = float("inf"),
        returned: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param down_time: seconds without a heartbeat after which the cloud believes this host down
        :param returned: called after the first heartbeat that came through after such a time
        :param clock: seconds of the monotonic clock
        """
        self._services = services
        self._service = service
        self._down_time = down_time
        self._returned = returned
        self._clock = clock
        self._last = clock()

    def tick(self) -> None:
        """Save the next report_count, and only that field.

        :raises HostIdentityError: somebody deleted this host from the cloud
        """
        try:
            self._services.save(
                RequestContext.admin(),
                self._service,
                report_count=int(self._service.get("report_count", 0)) + 1,
            )
        except RemoteFailure as error:
            if error.exc_type != "ServiceNotFound":
                raise
            # Not made again: an operator who removes a host wants it gone.
            raise HostIdentityError(
                "the nova-compute service of this host was deleted from the cloud; stop this "
                "agent, or restart it to have the host join again"
            ) from None
        silent, self._last = self._clock() - self._last, self._clock()
        if silent > self._down_time:
            LOG.warning("This host was silent for %d s and believed to be down; its servers may "
                        "have been evacuated", silent)  # fmt: skip
            self._returned()
