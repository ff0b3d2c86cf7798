"""The interfaces (taps) of a server's ports on this host: plug, unplug, find again.

What a server has here is more than its network cache tells: a port may have been deleted, or the
cache may have been emptied, while the guest had the interface. So whatever unplugs asks the cache,
the guest and Open vSwitch, which keeps the server of each port that it has.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import replace

from nova_lite.errors import (
    DomainNotFound,
    NovaLiteError,
    SwitchUnavailable,
    VifTypeUnsupported,
)
from nova_lite.guest import devices
from nova_lite.model.network import Network, Vif
from nova_lite.model.states import NOT_ON
from nova_lite.services import guest
from nova_lite.services.notes import PortNotes
from nova_lite.services.port_requests import PortRequest, port_requests
from nova_lite.services.toolbox import Toolbox
from nova_lite.services.work import Work
from nova_lite.wire import network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

NAME_LENGTH = 14  # of a host device, with room for the kernel's terminator
TAP = "tap"  # how the names of taps begin that are made for ports

LOG = logging.getLogger(__name__)


def requested_ports(work: Work) -> list[PortRequest]:
    """The ports and networks that the boot request names; there may be none."""
    networks = work.arguments["requested_networks"]
    return [] if networks is None else port_requests(networks.objects())


def is_first_host(work: Work) -> bool:
    """Whether no other host has tried to build the server, and may have left ports."""
    retry = (work.arguments["filter_properties"] or {}).get("retry")
    return retry is None or retry.get("num_attempts") == 1


def access_addresses(vifs: Iterable[Vif], network: str | None) -> dict[str, str]:
    """The fields of a server's access addresses: the first of each version in a network.

    :param vifs: the ports of the server
    :param network: [DEFAULT]default_access_ip_network_name; None: none at all
    """
    found: dict[str, str] = {}
    vif = next((vif for vif in vifs if network and vif.network.label == network), None)
    for subnet in vif.network.subnets if vif else ():
        for ip in subnet.ips:
            found.setdefault(f"access_ip_v{ip.version}", ip.address)
    return found


def remember_taps(work: Work) -> None:
    """Note the taps that the guest has beside those of its ports, before it is removed; once."""
    if PortNotes.of(work.notes).taps is not None:
        return
    named = {vif.devname for vif in guest.vifs(work)}
    beside = {device: mac for device, mac in _taps(work).items() if device not in named}
    if beside:  # usually there are none, and nothing to write down
        work.note(taps=beside)


def remember_own_side(work: Work) -> None:
    """Note the interfaces that a server has had on this host, though another one has it by now.

    The network cache describes the other host's side of the ports, which may be of another kind.
    """
    if PortNotes.of(work.notes).vifs is None:
        known = [vif for vif in guest.vifs(work) if work.tools.vif_driver.supports(vif)]
        work.note(vifs=network_info.dump(known))
    remember_taps(work)


def lost_vifs(work: Work) -> list[Vif]:
    """Ports of the network cache that the server has no more; see ``PortNotes``."""
    return network_info.load(PortNotes.of(work.notes).lost)


def found_again(
    tools: Toolbox, context: RequestContext, instance: WireObject, vifs: Iterable[Vif]
) -> list[Vif]:
    """Ports that no network cache had, as one would have them: in the order of the server's NICs,
    and those that are older than the server are not deleted with it."""
    uuid = str(instance["uuid"])
    places = {port_id: at for at, port_id in enumerate(tools.interfaces.order(context, uuid))}
    older = tools.ports.older(context, uuid, instance.get("created_at"))
    found = [replace(vif, preserve=vif.preserve or vif.id in older) for vif in vifs]
    return sorted(found, key=lambda vif: places.get(vif.id, len(places)))


def strays(work: Work, mine: Iterable[Vif], others: set[str]) -> list[Vif]:
    """The interfaces that the server has on this host beside those of its ports.

    :param mine, others: see ``_in_switch``
    """
    ports = guest.vifs(work)
    devices, ids = {vif.devname for vif in ports} | others, {vif.id for vif in ports}
    found = []
    # What is known best comes first.
    for vif in (*lost_vifs(work), *mine, *_of_taps(work)):
        if vif.id not in ids and vif.devname not in devices:
            found.append(vif)
            ids.add(vif.id)
            devices.add(vif.devname)
    return found


def deleted_port(work: Work, port_id: str) -> Vif | None:
    """What the server has here of a port, by its cache, the switch or the guest."""
    for vif in (*guest.vifs(work), *_in_switch(work)[0]):
        if vif.id == port_id:
            return vif
    tap = f"tap{port_id}"[:NAME_LENGTH]
    return next((vif for vif in _of_taps(work) if vif.devname == tap), None)


def _in_switch(work: Work) -> tuple[list[Vif], set[str]]:
    """The interfaces that the switch has for the server, and the devices that it has for others: a
    port may be another server's by now. While the switch does not answer, none."""
    try:
        found = work.tools.vif_driver.plugged_vifs()
    except SwitchUnavailable as error:
        # Hosts without Open vSwitch have none; elsewhere plugging and unplugging say it, too.
        LOG.debug("Server %s: %s", work.uuid, error)
        return [], set()
    mine = found.pop(work.uuid, [])
    return mine, {vif.devname for vifs in found.values() for vif in vifs}


def _of_taps(work: Work) -> list[Vif]:
    """The taps of the guest as interfaces without a record.

    Devices with other names (macvtap0, vhu...) go with the guest, or the switch names them.
    """
    taps = PortNotes.of(work.notes).taps
    bridge = work.tools.conf.neutron.ovs_bridge
    vif_type = "ovs" if work.tools.vif_driver.uses_switch else "tap"
    return [
        Vif(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, device)),
            mac=mac,
            network=Network(str(uuid.uuid5(uuid.NAMESPACE_OID, bridge)), bridge=bridge),
            vif_type=vif_type,
            devname=device,
            preserve=True,
        )
        for device, mac in (_taps(work) if taps is None else taps).items()
        if device.startswith(TAP)
    ]


def _taps(work: Work) -> dict[str, str]:
    """Host device -> MAC address of the guest's interfaces."""
    try:
        return {device: mac for mac, device in work.tools.hypervisor.taps(work.uuid)}
    except DomainNotFound:
        return {}


def plug(work: Work) -> None:
    """Plug the interfaces of all ports of the operation."""
    for vif in guest.plugged_vifs(work):
        work.tools.vif_driver.plug(vif, **_owner(work))


def plug_port(work: Work, vif: Vif) -> None:
    """Plug one interface, with as many queues as the guest will use."""
    queues = devices.nic_queues(work.server, work.tools.policy)
    work.tools.vif_driver.plug(replace(vif, queues=queues), **_owner(work))


def unplug(work: Work) -> None:
    """Unplug all interfaces that the server has on this host, and none that another one has."""
    mine, others = _in_switch(work)
    ports = [vif for vif in guest.vifs(work) if vif.devname not in others]
    _unplug_all(work, [*ports, *strays(work, mine, others)])


def leave(work: Work) -> None:
    """Unplug all interfaces of a server that has no guest here and gets none.

    While the switch does not answer they stay: ``loops.stray_interfaces`` removes them later.
    """
    try:
        unplug(work)
    except SwitchUnavailable as error:
        LOG.warning("The interfaces of server %s stay until the switch is back: %s",
                    work.uuid, error)  # fmt: skip


def unplug_strays(work: Work) -> bool:
    """Unplug what the server has on this host beside its ports; False: its guest is on, and keeps
    what it has."""
    try:
        if work.tools.hypervisor.power_state(work.uuid) not in NOT_ON:
            return False
    except DomainNotFound:
        pass
    _unplug_all(work, found := strays(work, *_in_switch(work)))
    for vif in found:
        LOG.info("Interface %s of server %s was unplugged: it has no such port any more",
                 vif.devname, work.uuid)  # fmt: skip
    return True


def unplug_port(work: Work, vif: Vif) -> None:
    """Unplug one interface."""
    work.tools.vif_driver.unplug(vif, **_owner(work))


def _unplug_all(work: Work, vifs: Iterable[Vif]) -> None:
    """Unplug each, whatever becomes of the others."""
    failure: NovaLiteError | None = None
    for vif in vifs:
        try:
            unplug_port(work, vif)
        except SwitchUnavailable:
            raise  # the others would not fare better
        except VifTypeUnsupported as error:
            # Nobody here has plugged it, and nobody here ever can unplug it.
            LOG.warning("Server %s: what the host has of it stays: %s", work.uuid, error)
        except NovaLiteError as error:
            LOG.warning("Server %s: %s", work.uuid, error)
            failure = failure or error
    if failure is not None:
        raise failure


def _owner(work: Work) -> dict[str, str]:
    return {
        "server_uuid": work.uuid,
        "server_name": work.server.domain_name,
        "project_id": work.server.project_id,
    }
