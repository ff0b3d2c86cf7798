"""Steps that bind the ports of a server to this host, or take them off it; they stay its ports."""

from __future__ import annotations

from nova_lite.services import guest
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import network_info


class BindPorts(Step):
    """Bind the ports to this host and record how they are wired up here."""

    name = "bind_ports"

    def do(self) -> None:
        work, tools = self.work, self.tools
        vifs = tools.ports.bind(work.context, work.server, guest.vifs(work), tools.host)
        work.note(vifs=network_info.dump(vifs))
        tools.info_caches.save(work.context, work.uuid, work.notes["vifs"])

    def undo(self) -> None:
        unbind(self.work)


class UnbindPorts(Step):
    """Take the ports off this host."""

    name = "unbind_ports"

    def do(self) -> None:
        unbind(self.work)


def unbind(work: Work) -> None:
    """Take a server's ports off this host; those bound elsewhere stay there."""
    work.tools.ports.unbind(work.context, work.uuid, work.tools.host)


def remember_ports(work: Work) -> None:
    """Note how the ports are bound now, for Neutron forgets it when they leave.

    Their host side can be taken away only by what it was made from.
    """
    if work.notes.get("vifs") is None:
        work.note(vifs=network_info.dump(guest.vifs(work)))
