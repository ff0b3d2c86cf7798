"""The ports of a server that moves while it runs: bound to both hosts for a while, of which one
binding is the active one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from nova_lite.errors import ControlPlaneUnavailable, NovaLiteError
from nova_lite.services import guest, live_moves
from nova_lite.services.work import Work

LOG = logging.getLogger(__name__)


def ids(work: Work) -> list[str]:
    """The server's ports that its guest has."""
    return [vif.id for vif in guest.vifs(work)]


def activate(work: Work) -> None:
    """Let the ports be the host's that gets the server."""
    work.tools.ports.bindings.activate(work.context, ids(work), live_moves.target(work))


def drop(work: Work, ports: Iterable[str], host: str) -> None:
    """Delete the bindings of ports to a host where the server is not; what fails of it is only
    logged.

    :raises ControlPlaneUnavailable: Neutron, or what leads to it, is away
    """
    try:
        work.tools.ports.bindings.drop(work.context, list(ports), host)
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.warning("Bindings of ports of server %s to host %s are left: %s",
                    work.uuid, host, error)  # fmt: skip


def announce(work: Work, host: str | None) -> None:
    """Write ``migrating_to`` into the ports' binding profiles, as stock does, for drivers of
    Neutron that prepare the host; what fails of it is only logged.

    :param host: None: it goes nowhere
    :raises ControlPlaneUnavailable: as of ``drop``
    """
    try:
        work.tools.ports.announce_move(work.context, work.uuid, host)
    except ControlPlaneUnavailable:
        raise
    except NovaLiteError as error:
        LOG.warning("The ports of server %s do not say where it goes: %s", work.uuid, error)
