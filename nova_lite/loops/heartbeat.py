"""The heartbeat: a host whose report_count stops growing is down after service_down_time."""

from __future__ import annotations

from nova_lite.conductor.services import Services
from nova_lite.errors import HostIdentityError
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject


class Heartbeat:
    def __init__(self, services: Services, service: WireObject) -> None:
        self._services = services
        self._service = service

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
