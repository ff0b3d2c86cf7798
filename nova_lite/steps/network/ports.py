"""Steps that allocate a server's ports, plug their interfaces on this host, and release them."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

from nova_lite.errors import NetworkUnavailable, NovaLiteError, Verdict, VifPlugTimeout
from nova_lite.model.network import Vif
from nova_lite.services import guest
from nova_lite.services.events import VIF_PLUGGED
from nova_lite.services.interfaces import (
    found_again,
    is_first_host,
    leave,
    lost_vifs,
    plug,
    requested_ports,
    unplug_strays,
)
from nova_lite.services.notes import PortNotes
from nova_lite.services.port_resources import providers_of
from nova_lite.services.work import Interrupted, Work
from nova_lite.steps.base import Step
from nova_lite.steps.network.binding import are_elsewhere, forget_lost, note_ports
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)

# Seconds between two looks at Neutron itself while an event is waited for: Neutron holds events
# back for up to two seconds, sends each once, and may have sent ours to a process now dead. An
# event that is on its way is waited for a moment.
LOOKS = (0.15, 0.35, 0.7, 1.5, 3.0, 6.0, 15.0)

UNBOUND = "unbound"  # vif_type of a port that is on no host
# Seconds between two attempts to get ports: the pauses of nova-compute.
RETRY_FIRST, RETRY_LONGEST = 1.0, 30.0


class AllocatePorts(Step):
    """Create or adopt the requested ports and bind them to this host."""

    name = "allocate_ports"

    def do(self) -> None:
        ports = self._allocate()
        tags = {vif.mac: vif.tag for vif in ports if vif.tag}
        self.work.note(vifs=network_info.dump(ports), nic_tags=tags)

    def _allocate(self) -> list[Vif]:
        """Ports, after up to [DEFAULT]network_allocate_retries failures.

        Neutron that does not answer is not counted: the engine waits for it, and for longer.
        """
        work, tools = self.work, self.tools
        groups = [_group_name(group) for group in work.arguments["security_groups"] or ()]
        pause = RETRY_FIRST
        first = not self.repeated and is_first_host(work)
        for left in reversed(range(tools.conf.network_allocate_retries + 1)):
            try:
                return tools.ports.allocate(
                    work.context, work.server, requested_ports(work), groups, tools.host,
                    first=first,
                    providers=providers_of(work.arguments.get("request_spec")),
                )  # fmt: skip
            except NetworkUnavailable:
                raise
            except NovaLiteError as error:
                if not left or error.verdict is Verdict.GONE:
                    raise
                LOG.warning("Server %s gets no ports: %s; trying again in %.0f s, %d times more",
                            work.uuid, error, pause, left)  # fmt: skip
            if tools.clock.wait(work.cancelled, pause):
                raise Interrupted
            first = False
            pause = min(pause * 2, RETRY_LONGEST)
        raise AssertionError("the last attempt ends it")

    def undo(self) -> None:
        work, tools = self.work, self.tools
        if are_elsewhere(work):
            return
        asked_for = [
            request.port_id
            for request in requested_ports(work)
            if request.port_id
        ]
        tools.ports.deallocate(work.context, work.uuid, asked_for)
        tools.interfaces.delete_all(work.context, work.uuid)
        tools.info_caches.save(work.context, work.uuid, "[]")


class RecordPorts(Step):
    """Save the ports that were allocated: their VirtualInterfaces, and the network cache.

    AllocatePorts takes that back with the ports.
    """

    name = "record_ports"

    def do(self) -> None:
        work, tools = self.work, self.tools
        notes = PortNotes.of(work.notes)
        tags = notes.nic_tags or {}
        for vif in guest.vifs(work):
            tools.interfaces.create(work.context, work.uuid, vif.id, vif.mac, tags.get(vif.mac))
        tools.info_caches.save(work.context, work.uuid, notes.vifs or "[]")


class NameGroups(Step):
    """Look up the security groups that a config drive names, before it is waited for."""

    name = "name_groups"

    def do(self) -> None:
        work = self.work
        if guest.has_config_drive(work):
            work.note(groups=self.tools.ports.security_groups(work.context, work.uuid))


class RefreshPorts(Step):
    """Refresh the network cache from Neutron before the guest is defined again; fail where this
    host has no driver for one of the ports, before the guest is touched.

    :param keep_lost: the guest is not: it needs the taps also of ports that the server has no more
    """

    name = "refresh_ports"

    def __init__(self, work: Work, *, keep_lost: bool = False) -> None:
        super().__init__(work)
        self._keep_lost = keep_lost

    def do(self) -> None:
        work = self.work
        known = [*guest.vifs(work), *lost_vifs(work)]
        fresh = self._bound(known)
        if fresh and not known:
            fresh = found_again(self.tools, work.context, work.instance, fresh)
        note_ports(work, known, fresh, keep_lost=self._keep_lost)
        if not self._keep_lost:
            for vif in fresh:
                self.tools.vif_driver.require(vif)


    def _bound(self, known: list[Vif]) -> list[Vif]:
        """The ports; one that is on no host, but has an inactive binding to this one, gets that
        back: a move of the server to another cell was taken back when the ports had left."""
        work, ports = self.work, self.tools.ports
        fresh = ports.refresh(work.context, work.uuid, known)
        if not work.here or all(vif.vif_type != UNBOUND for vif in fresh):
            return fresh
        host = self.tools.host
        ports.host_bindings.hand_back(work.context, work.uuid, host, host)
        return ports.refresh(work.context, work.uuid, known)


class RequireSwitch(Step):
    """Fail while the host's switch is dead, before a guest is powered off that would not start."""

    name = "require_switch"

    def do(self) -> None:
        driver = self.tools.vif_driver
        if any(driver.needs_switch(vif) for vif in guest.vifs(self.work)):
            driver.check()


class PlugInterfaces(Step):
    """Plug the interfaces, and note the ports that are not active yet.

    What the server has on this host beside them, of ports that it has no more, is unplugged, and
    leaves the network cache.

    :param keep_strays: the guest is not defined anew, and may need them
    """

    name = "plug_interfaces"

    def __init__(self, work: Work, *, keep_strays: bool = False) -> None:
        super().__init__(work)
        self._keep_strays = keep_strays

    def do(self) -> None:
        work = self.work
        if self.tools.conf.vif_plugging_timeout:
            work.note(await_ports=[vif.id for vif in guest.vifs(work) if not vif.active])
        if not self._keep_strays and unplug_strays(work):
            forget_lost(work)
        plug(work)

    def undo(self) -> None:
        leave(self.work)


class UnplugInterfaces(Step):
    """Unplug the interfaces."""

    name = "unplug_interfaces"

    def do(self) -> None:
        leave(self.work)


class WaitForPorts(Step):
    """Wait for Neutron's network-vif-plugged events, then resume the guest.

    ``looks`` are the pauses between two looks at Neutron itself; the last one is repeated. A look
    for another server counts, too, if it is not older than the part ``shared`` of the pause.
    ``notes_wired``: the ports that were wired up are noted as such, for a later step that saves the
    network cache.
    """

    name = "wait_for_ports"
    looks: tuple[float, ...] = LOOKS
    shared = 0.5
    notes_wired = False

    def do(self) -> None:
        work, tools = self.work, self.tools
        awaited = set(PortNotes.of(work.notes).await_ports or ())
        missing = self._wait(set(awaited)) if awaited else awaited
        if missing:
            self._give_up(missing)
        if self.notes_wired and awaited - missing:
            wired = awaited - missing
            ports = (replace(vif, active=vif.active or vif.id in wired) for vif in guest.vifs(work))
            work.note(vifs=network_info.dump(ports))
        tools.hypervisor.resume(work.uuid)
        tools.events.forget(work.uuid)

    def _wait(self, waiting: set[str]) -> set[str]:
        """The ports that are not active after [DEFAULT]vif_plugging_timeout."""
        work, events = self.work, self.tools.events
        clock = self.tools.clock
        deadline = clock.monotonic() + float(self.tools.conf.vif_plugging_timeout)
        for pause in itertools.chain(self.looks, itertools.repeat(self.looks[-1])):
            left = deadline - clock.monotonic()
            turn = max(0.0, min(left, pause))
            waiting = events.wait(work.uuid, VIF_PLUGGED, waiting, turn, work.cancelled)
            if work.cancelled.is_set():
                raise Interrupted
            if waiting and not self._failed(waiting):
                within = pause * self.shared if pause < left else 0.0
                waiting -= self.tools.ports.active(work.context, work.uuid, within=within)
            if not waiting or left <= 0 or self._failed(waiting):
                return waiting
        raise AssertionError("the pauses have no end")

    def _failed(self, waiting: set[str]) -> bool:
        """Whether an event of one of the ports came with the status failed."""
        return any(
            self.tools.events.status(self.work.uuid, VIF_PLUGGED, port) == "failed"
            for port in waiting
        )

    def _give_up(self, missing: set[str]) -> None:
        ports = ", ".join(sorted(missing))
        if self.tools.conf.vif_plugging_is_fatal:
            how = f"did not report port {ports} as plugged within "
            how += f"{self.tools.conf.vif_plugging_timeout} s"
            if self._failed(missing):
                how = f"reported that it cannot wire up a port of {ports}"
            raise VifPlugTimeout(
                f"Virtual Interface creation failed: Neutron {how}; look at its agent on host "
                f"{self.tools.host}"
            )
        LOG.warning("Server %s starts though port %s is not wired up", self.work.uuid, ports)


class ReleasePorts(Step):
    """Delete the ports that were created for the server; unbind those that existed before it."""

    name = "release_ports"

    def do(self) -> None:
        work, tools = self.work, self.tools
        known = guest.vifs(work)
        preserved = {vif.id for vif in known if vif.preserve}
        if not known:  # a server without ports, or a lost cache
            created = work.instance.get("created_at")
            preserved = tools.ports.older(work.context, work.uuid, created)
        tools.ports.deallocate(work.context, work.uuid, preserved)


def _group_name(group: object) -> str:
    """The message carries names or ids, in some releases wrapped in a dict."""
    if isinstance(group, dict):
        return str(group.get("name") or group.get("id"))
    return str(group)
