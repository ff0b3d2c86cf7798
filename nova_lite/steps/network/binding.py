"""Steps that bind a server's ports to this host, or unbind them; the server keeps its ports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from nova_lite.errors import MalformedMessage
from nova_lite.model.network import Vif
from nova_lite.services import guest
from nova_lite.services.interfaces import lost_vifs, remember_taps
from nova_lite.services.notes import PortNotes
from nova_lite.services.port_resources import Providers, providers_of
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)


class BindPorts(Step):
    """Bind the ports to this host and save the network cache with their bindings.

    ``keeps_cache``: that is left to a later step, which saves the record anyway and asks
    ``cache_to_save``; where it does not come to that, ``save_cache`` makes up for it.
    """

    name = "bind_ports"
    keeps_cache = False

    def do(self) -> None:
        work, tools = self.work, self.tools
        known = [*guest.vifs(work), *lost_vifs(work)]
        vifs = tools.ports.bind(work.context, work.server, known, tools.host, self.providers())
        note_ports(work, known, vifs, save=not self.keeps_cache)

    def providers(self) -> Providers | None:
        """Who serves the ports that have a guaranteed rate: chosen by the scheduler; None: the
        ports keep those that they have."""
        request_spec = self.work.arguments.get("request_spec")
        return None if request_spec is None else providers_of(request_spec)

    def undo(self) -> None:
        unbind(self.work)


class UnbindPorts(Step):
    """Unbind the ports from this host."""

    name = "unbind_ports"

    def do(self) -> None:
        unbind(self.work)


def note_ports(
    work: Work,
    known: Sequence[Vif],
    fresh: Sequence[Vif],
    *,
    keep_lost: bool = False,
    save: bool = True,
) -> None:
    """Note the ports as Neutron describes them now, and save them in the network cache.

    Ports that the server has no more stay in the cache until their interfaces are unplugged
    (PlugInterfaces).

    :param known: as they were, with those that were lost earlier
    :param keep_lost: the guest is not defined anew: it needs the taps of lost ports, too
    :param save: else a later step saves the cache: see ``cache_to_save``
    """
    ids = {vif.id for vif in fresh}
    lost = [vif for vif in known if vif.id not in ids]
    text = network_info.dump([*fresh, *lost])
    if keep_lost:
        work.note(vifs=text, lost="[]")
    else:
        work.note(vifs=network_info.dump(fresh), lost=network_info.dump(lost))
    if save and text != _cached(work):
        work.tools.info_caches.save(work.context, work.uuid, text)


def cache_to_save(work: Work) -> dict[str, Any]:
    """The network cache as a field to save with the server's record; none where that has it.

    nova-conductor saves it with the rest, but whatever becomes of the conditions of that
    (``Instance.save`` and ``_save_info_cache`` of nova/objects/instance.py).
    """
    text = _unsaved(work)
    return {} if text is None else {"info_cache": network_info.cache_of(work.uuid, text)}


def note_cache_saved(work: Work) -> None:
    """Remember that a record was saved with what ``cache_to_save`` says of it."""
    if PortNotes.of(work.notes).vifs is not None:
        work.tools.info_caches.note(work.uuid, _noted(work))


def save_cache(work: Work) -> None:
    """Save the network cache by itself, if it was noted and the record does not have it."""
    text = _unsaved(work)
    if text is not None:
        work.tools.info_caches.save(work.context, work.uuid, text)


def _unsaved(work: Work) -> str | None:
    if PortNotes.of(work.notes).vifs is None:
        return None
    text = _noted(work)
    return None if text == _cached(work) else text


def _noted(work: Work) -> str:
    return network_info.dump([*guest.vifs(work), *lost_vifs(work)])


def forget_lost(work: Work) -> None:
    """Drop the ports from the network cache that the server has no more; they are unplugged."""
    if lost_vifs(work):
        work.tools.info_caches.save(
            work.context, work.uuid, network_info.dump(guest.vifs(work))
        )
        work.note(lost="[]")


def _cached(work: Work) -> str | None:
    """The network cache as the record has it, whatever was noted since; None: it has none, or one
    that cannot be read."""
    cache = work.instance.get("info_cache")
    if not cache:
        return None
    try:
        return network_info.dump(network_info.load(cache.get("network_info", "[]")))
    except MalformedMessage:
        return None


def are_elsewhere(work: Work) -> bool:
    """Whether the ports are another host's with the server: they are not taken back here, then."""
    if work.elsewhere:
        LOG.warning("The ports of server %s are those of host %s by now; they stay",
                    work.uuid, work.instance["host"])  # fmt: skip
    return work.elsewhere


def unbind(work: Work) -> None:
    """Unbind a server's ports from this host; those bound to another host stay bound."""
    work.tools.ports.unbind(work.context, work.uuid, work.tools.host)


def remember_ports(work: Work) -> None:
    """Note the ports' bindings, for Neutron forgets them when the ports are unbound, and the taps.

    The interfaces can be unplugged only with the binding that they were plugged with.
    """
    remember_taps(work)
    if PortNotes.of(work.notes).vifs is None:
        work.note(vifs=network_info.dump(guest.vifs(work)))
