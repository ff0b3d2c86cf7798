"""Steps that give a server its ports, wire them up on this host, and take them away."""

from __future__ import annotations

import logging
import uuid

from nova_lite.errors import DomainNotFound, VifPlugTimeout
from nova_lite.model.network import Network, Vif
from nova_lite.steps import guest
from nova_lite.steps.base import Interrupted, Step, Work
from nova_lite.steps.events import VIF_PLUGGED
from nova_lite.steps.port_requests import port_requests
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)

# Seconds after which a wait for an event asks Neutron itself: events are sent once, and the one we
# wait for may have been sent to a process that was killed.
ASK_NEUTRON = 15.0


class AllocatePorts(Step):
    """Make or take the ports asked for, bind them here and record them."""

    name = "allocate_ports"
    deadline = 300.0

    def do(self) -> None:
        work, tools = self.work, self.tools
        ports = tools.ports.allocate(
            work.context,
            work.server,
            port_requests(work.arguments["requested_networks"].objects()),
            [_group_name(group) for group in work.arguments["security_groups"] or ()],
            tools.host,
        )
        work.note(vifs=network_info.dump(ports))
        for vif in ports:
            tools.interfaces.create(work.context, work.uuid, vif.id, vif.mac, vif.tag)
        tools.info_caches.save(work.context, work.uuid, work.notes["vifs"])

    def undo(self) -> None:
        work, tools = self.work, self.tools
        asked_for = [
            request.port_id
            for request in port_requests(work.arguments["requested_networks"].objects())
            if request.port_id
        ]
        tools.ports.deallocate(work.context, work.uuid, asked_for)
        tools.interfaces.delete_all(work.context, work.uuid)
        tools.info_caches.save(work.context, work.uuid, "[]")


class RefreshPorts(Step):
    """Read the ports anew before the guest is defined again."""

    name = "refresh_ports"

    def do(self) -> None:
        work, tools = self.work, self.tools
        known = guest.vifs(work)
        fresh = tools.ports.refresh(work.context, work.uuid, known)
        text = network_info.dump(fresh)
        work.note(vifs=text)
        if text != network_info.dump(known):
            tools.info_caches.save(work.context, work.uuid, text)


class PlugInterfaces(Step):
    """Make the host side of the ports, and note which of them are not wired up yet."""

    name = "plug_interfaces"

    def do(self) -> None:
        work = self.work
        ports = guest.plugged_vifs(work)
        if self.tools.conf.vif_plugging_timeout:
            work.note(await_ports=[vif.id for vif in ports if not vif.active])
        for vif in ports:
            self.tools.vif_driver.plug(vif, **_owner(work))

    def undo(self) -> None:
        unplug(self.work)


class UnplugInterfaces(Step):
    """Remove the host side of the ports."""

    name = "unplug_interfaces"

    def do(self) -> None:
        unplug(self.work)


class WaitForPorts(Step):
    """Wait until Neutron has wired up the ports, then let the guest run."""

    name = "wait_for_ports"

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.deadline = float(self.tools.conf.vif_plugging_timeout) + 60

    def do(self) -> None:
        work, tools = self.work, self.tools
        waiting = set(work.notes.get("await_ports") or ())
        if waiting and (missing := self._wait(waiting)):
            self._give_up(missing)
        tools.hypervisor.resume(work.uuid)
        tools.events.forget(work.uuid)

    def _wait(self, waiting: set[str]) -> set[str]:
        """The ports without an event after the configured time."""
        work, left = self.work, float(self.tools.conf.vif_plugging_timeout)
        while waiting and left > 0 and not work.cancelled.is_set():
            turn = min(left, ASK_NEUTRON)
            waiting = self.tools.events.wait(
                work.uuid, VIF_PLUGGED, waiting, turn, work.cancelled
            )
            left -= turn
            if any(
                self.tools.events.status(work.uuid, VIF_PLUGGED, port) == "failed"
                for port in waiting
            ):
                return waiting
            if waiting:
                waiting -= self._active()
        if work.cancelled.is_set():
            raise Interrupted
        return waiting

    def _active(self) -> set[str]:
        fresh = self.tools.ports.refresh(self.work.context, self.work.uuid, guest.vifs(self.work))
        return {vif.id for vif in fresh if vif.active}

    def _give_up(self, missing: set[str]) -> None:
        ports = ", ".join(sorted(missing))
        if self.tools.conf.vif_plugging_is_fatal:
            raise VifPlugTimeout(
                f"Virtual Interface creation failed: Neutron did not report port {ports} as "
                f"plugged within {self.tools.conf.vif_plugging_timeout} s; look at its agent on "
                f"host {self.tools.host}"
            )
        LOG.warning("Server %s starts though port %s is not wired up", self.work.uuid, ports)


class ReleasePorts(Step):
    """Delete the ports made for the server, and let go of those that existed before it."""

    name = "release_ports"
    deadline = 300.0

    def do(self) -> None:
        work, tools = self.work, self.tools
        preserved = [vif.id for vif in guest.vifs(work) if vif.preserve]
        tools.ports.deallocate(work.context, work.uuid, preserved)


def adopt_taps(work: Work) -> None:
    """Note the interfaces of a server whose records tell of none, as its guest has them.

    The API empties them when it deletes a server whose host is down. Only the host side can be
    taken away by what is noted here: the ports themselves are gone.
    """
    try:
        taps = work.tools.hypervisor.taps(work.uuid)
    except DomainNotFound:
        return
    bridge = work.tools.conf.neutron.ovs_bridge
    left = [
        Vif(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, device)),
            mac=mac,
            network=Network(str(uuid.uuid5(uuid.NAMESPACE_OID, bridge)), bridge=bridge),
            vif_type="ovs",
            devname=device,
            preserve=True,
        )
        for mac, device in taps
    ]
    if left:
        work.note(vifs=network_info.dump(left))


def unplug(work: Work) -> None:
    """Unplug all ports that the operation knows of."""
    for vif in guest.vifs(work):
        work.tools.vif_driver.unplug(vif, **_owner(work))


def _owner(work: Work) -> dict[str, str]:
    return {
        "server_uuid": work.uuid,
        "server_name": work.server.domain_name,
        "project_id": work.server.project_id,
    }


def _group_name(group: object) -> str:
    """The message carries names or ids, in some releases wrapped in a dict."""
    if isinstance(group, dict):
        return str(group.get("name") or group.get("id"))
    return str(group)
