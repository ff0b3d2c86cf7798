"""Steps that bind a server's ports to this host, or unbind them; the server keeps its ports."""

from __future__ import annotations

from nova_lite.services import guest
from nova_lite.services.notes import PortNotes
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import network_info


class BindPorts(Step):
    """Bind the ports to this host and save the network cache with their bindings."""

    name = "bind_ports"

    def do(self) -> None:
        work, tools = self.work, self.tools
        vifs = tools.ports.bind(work.context, work.server, guest.vifs(work), tools.host)
        text = network_info.dump(vifs)
        work.note(vifs=text)
        tools.info_caches.save(work.context, work.uuid, text)

    def undo(self) -> None:
        unbind(self.work)


class UnbindPorts(Step):
    """Unbind the ports from this host."""

    name = "unbind_ports"

    def do(self) -> None:
        unbind(self.work)


def unbind(work: Work) -> None:
    """Unbind a server's ports from this host; those bound to another host stay bound."""
    work.tools.ports.unbind(work.context, work.uuid, work.tools.host)


def remember_ports(work: Work) -> None:
    """Note the ports' bindings, for Neutron forgets them when the ports are unbound.

    The interfaces can be unplugged only with the binding that they were plugged with.
    """
    if PortNotes.of(work.notes).vifs is None:
        work.note(vifs=network_info.dump(guest.vifs(work)))
