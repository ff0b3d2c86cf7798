"""The interfaces (taps) of a server's ports on this host: plug, unplug, find again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from nova_lite.errors import DomainNotFound
from nova_lite.model.network import Network, Vif
from nova_lite.services import guest
from nova_lite.services.port_requests import PortRequest, port_requests
from nova_lite.services.work import Work
from nova_lite.wire import network_info


def requested_ports(work: Work) -> list[PortRequest]:
    """The ports and networks that the boot request names; there may be none."""
    networks = work.arguments["requested_networks"]
    return [] if networks is None else port_requests(networks.objects())


def adopt_taps(work: Work) -> None:
    """Note the interfaces of the guest where the network cache is empty.

    nova-api empties the cache when it deletes a server whose host is down. The notes are enough to
    unplug the interfaces; the ports themselves are deleted.
    """
    left = _own_taps(work, known=())
    if left:
        work.note(vifs=network_info.dump(left))


def adopt_own_taps(work: Work) -> None:
    """Note the interfaces that a server has had on this host, though another one has it by now.

    The network cache describes the other host's side of the ports, which may be of another kind,
    and lacks what was detached there. The guest's definition has this host's side; it is read once,
    before it is removed.
    """
    if "vifs" in work.notes:
        return
    known = [vif for vif in guest.vifs(work) if work.tools.vif_driver.supports(vif)]
    work.note(vifs=network_info.dump([*known, *_own_taps(work, known)]))


def _own_taps(work: Work, known: Sequence[Vif]) -> list[Vif]:
    """The taps of the guest that are of none of the ``known`` ports, as ports without a record."""
    try:
        taps = work.tools.hypervisor.taps(work.uuid)
    except DomainNotFound:
        return []
    bridge = work.tools.conf.neutron.ovs_bridge
    named = {vif.devname for vif in known}
    return [
        Vif(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, device)),
            mac=mac,
            network=Network(str(uuid.uuid5(uuid.NAMESPACE_OID, bridge)), bridge=bridge),
            vif_type="ovs",
            devname=device,
            preserve=True,
        )
        for mac, device in taps
        if device not in named
    ]


def plug(work: Work) -> None:
    """Plug the interfaces of all ports of the operation."""
    for vif in guest.plugged_vifs(work):
        work.tools.vif_driver.plug(vif, **_owner(work))


def unplug(work: Work) -> None:
    """Unplug the interfaces of all ports of the operation."""
    for vif in guest.vifs(work):
        work.tools.vif_driver.unplug(vif, **_owner(work))


def _owner(work: Work) -> dict[str, str]:
    return {
        "server_uuid": work.uuid,
        "server_name": work.server.domain_name,
        "project_id": work.server.project_id,
    }
