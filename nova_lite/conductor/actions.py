"""Instance action events and faults: what ``openstack server event show`` and ``show`` print."""

from __future__ import annotations

import logging

from nova_lite.clock import SYSTEM, Clock
from nova_lite.conductor.client import Conductor
from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError
from nova_lite.failures import Failure
from nova_lite.wire.context import RequestContext
from nova_lite.wire.decode import utcnow
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

LOG = logging.getLogger(__name__)

MESSAGE_LIMIT = 255  # characters; the column's width
TAIL = 100  # of them, for the end of a message that is too long
SHOWN_TO_ADMINISTRATORS = 500  # code of faults whose details nova-api keeps from users
# Seconds between tries to finish an event that does not exist yet: nobody waits for its start, and
# of several workers of the conductor one may be at the end before another is at the start.
START_LAGS = (0.1, 0.3, 1.0, 3.0)


class Actions:
    """Events of the action (same request id) that the API started."""

    def __init__(self, conductor: Conductor, host: str, clock: Clock = SYSTEM) -> None:
        self._conductor = conductor
        self._host = host
        self._clock = clock

    def start(self, context: RequestContext, server_uuid: str, event: str) -> None:
        """Record that ``event`` began on this host; nobody waits for the answer."""
        self._conductor.class_cast(
            context,
            "InstanceActionEvent.event_start",
            server_uuid,
            event,
            want_result=False,
            host=self._host,
        )

    def finish(
        self,
        context: RequestContext,
        server_uuid: str,
        event: str,
        failure: Failure | None = None,
    ) -> None:
        """Record how ``event`` ended; a server that is gone has no events to finish."""
        for lag in (*START_LAGS, None):
            try:
                self._conductor.class_call(
                    context,
                    "InstanceActionEvent.event_finish_with_failure",
                    server_uuid,
                    event,
                    exc_val=failure.message if failure else None,
                    exc_tb=failure.trace if failure else None,
                    want_result=False,
                )
                return
            except ControlPlaneUnavailable:
                raise
            except NovaLiteError as error:
                if lag is None or not _not_there_yet(error):
                    LOG.info("Event %s of server %s was not finished: %s",
                             event, server_uuid, error)  # fmt: skip
                    return
            self._clock.sleep(lag)

    def tell(self, context: RequestContext, server_uuid: str, event: str, details: str) -> None:
        """Add an event that is over, for what it says: nova-api shows ``details`` to those who may
        read them (policy ``os-instance-actions:events:details``, microversion 2.84).

        Nothing depends on it: what is not stored is in the log.
        """
        now = utcnow()
        made = WireObject.new(
            "InstanceActionEvent", VERSIONS["InstanceActionEvent"], event=event, host=self._host,
            start_time=now, finish_time=now, result="Success", details=details,
        )  # fmt: skip
        try:
            self._conductor.object_call(
                context, made, "create", instance_uuid=server_uuid, request_id=context.request_id
            )
        except NovaLiteError as error:
            LOG.info("Event %s of server %s was not recorded: %s", event, server_uuid, error)

    def action_start(self, context: RequestContext, server_uuid: str, action: str) -> None:
        """Open an action of our own (the API does it for requests of users)."""
        self._conductor.class_call(
            context, "InstanceAction.action_start", server_uuid, action, want_result=False
        )

    def fault(self, context: RequestContext, server_uuid: str, failure: Failure) -> None:
        """Record the fault that ``openstack server show`` prints.

        nova-api shows ``details`` to administrators where the code is 500, and to everybody where
        it is another one: traces of ours go with the former only (``views/servers.py`` of its
        compute API). The action event has the trace in any case, for administrators.
        """
        try:
            self._conductor.create(
                context,
                "InstanceFault",
                host=self._host,
                instance_uuid=server_uuid,
                code=failure.code,
                message=shortened(failure.message),
                details=failure.trace if failure.code == SHOWN_TO_ADMINISTRATORS else "",
            )
        except ControlPlaneUnavailable:
            raise
        except NovaLiteError:
            # The server may be gone; a fault that cannot be stored must not hide the error itself.
            return


def shortened(message: str) -> str:
    """A message that fits: one that is too long loses its middle, which may be a long list; what
    went wrong is at the beginning, and the remedy at the end. No word is torn."""
    if len(message) <= MESSAGE_LIMIT:
        return message
    gap = " ... "
    beginning = message[: MESSAGE_LIMIT - TAIL - len(gap)].rsplit(" ", 1)[0]
    return beginning + gap + message[-TAIL:].split(" ", 1)[-1]


def _not_there_yet(error: NovaLiteError) -> bool:
    return isinstance(error, RemoteFailure) and error.exc_type == "InstanceActionEventNotFound"
