"""Steps that attach one interface to an existing server.

The first one takes all of it back, in an order that depends on the guest: where that does not let
go of the card, the port stays the server's with everything it has, so that it can be detached.
The records have the port before the guest does: a host that dies in between leaves a server whose
port is known, and known to be kept or deleted with it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence

from nova_lite.errors import (
    AttachInterfaceUnsupported,
    DomainNotFound,
    HypervisorError,
    HypervisorUnavailable,
    InterfaceAttachFailed,
    NovaLiteError,
    SwitchUnavailable,
    VifPlugError,
)
from nova_lite.model.network import Vif
from nova_lite.services import guest
from nova_lite.services.interfaces import plug_port, unplug_port
from nova_lite.services.notes import AttachNotes
from nova_lite.services.port_attachments import ChosenPort
from nova_lite.services.port_requests import PortRequest
from nova_lite.services.work import Signal, Work
from nova_lite.steps.base import Step
from nova_lite.steps.guest.devices import DescribeDevices, untag_nic
from nova_lite.steps.network.binding import are_elsewhere
from nova_lite.wire import network_info

LOG = logging.getLogger(__name__)


class ChoosePort(Step):
    """Make the port, or take the one asked for; whatever follows, this takes it back.

    Who adds a step that reserves something for the port gives that back in :meth:`undo`, after
    the guest has let go.
    """

    name = "choose_port"
    chosen: ChosenPort | None = None

    def do(self) -> None:
        work, notes = self.work, AttachNotes.of(self.work.notes)
        if notes.attach_port is not None:
            return
        request = requested(work)
        if notes.attach_name is None:
            # Durable before Neutron is asked: by this name the port is found again.
            work.note(attach_name=f"nova-attach-{uuid.uuid4()}")
        elif not notes.attach_again and request.port_id is None:
            work.note(attach_again=True)
        notes = AttachNotes.of(work.notes)
        self.chosen = self.tools.ports.attachments.choose(
            work.context, work.server, request, str(notes.attach_name),
            asked_before=notes.attach_again,
        )  # fmt: skip
        made, row = request.port_id is None, self.chosen.row or {}
        rate = None if made else row.get("resource_request")
        work.note(attach_port=self.chosen.id, attach_made=made, attach_rate=rate)

    def undo(self) -> None:
        work, tools = self.work, self.tools
        if are_elsewhere(work):
            return
        notes, vif = AttachNotes.of(work.notes), attached(work)
        if vif is not None:
            if Signal.DELETE not in work.signals:  # the guest goes, and is not waited for
                tools.hypervisor.detach_nic(work.uuid, vif.mac, vif.devname)
            _unplug(work, vif)
        if notes.attach_rate:
            tools.port_resources.release(
                work.context, work.uuid, str(notes.attach_port), vif.profile if vif else None
            )
        tools.ports.attachments.release(
            work.context, work.uuid, notes.attach_port, made=notes.attach_made,
            name=notes.attach_name if requested(work).port_id is None else None,
        )  # fmt: skip
        if vif is not None:  # last: whatever cannot be taken back can be detached
            untag_nic(work, vif.mac)
            tools.interfaces.delete(work.context, vif.id)
            save_cache(work, [other for other in guest.vifs(work) if other.id != vif.id])


class BindPort(Step):
    """Claim what a port with a guaranteed rate asks for, bind the port to this host, and note how
    Neutron describes it.

    :param choice: what this process knows of the port need not be read again
    """

    name = "bind_port"

    def __init__(self, work: Work, choice: ChoosePort) -> None:
        super().__init__(work)
        self._choice = choice

    def do(self) -> None:
        work, tools, notes = self.work, self.tools, AttachNotes.of(self.work.notes)
        chosen = self._choice.chosen or ChosenPort(str(notes.attach_port))
        port = {"id": chosen.id, "resource_request": notes.attach_rate}
        providers = tools.port_resources.claim(work.context, work.uuid, port, tools.node_uuid)
        vif = tools.ports.attachments.bind(
            work.context, work.server, chosen, tools.host,
            made=notes.attach_made, name=notes.attach_name if notes.attach_again else None,
            providers=providers,
        )  # fmt: skip
        tags = {**guest.nic_tags(work), **({vif.mac: tag} if (tag := tag_of(work)) else {})}
        work.note(attach_vif=network_info.dump([vif]), nic_tags=tags)
        if not tools.vif_driver.supports(vif):
            raise AttachInterfaceUnsupported(
                f"port {vif.id} is of vif_type {vif.vif_type!r} and vnic_type {vif.vnic_type!r} on "
                f"host {tools.host}, which cannot be attached there"
            )


class AttachStep(Step):
    """A step about the port that was bound."""

    @property
    def vif(self) -> Vif:
        found = attached(self.work)
        assert found is not None, "its port is bound before"
        return found


class RecordPort(AttachStep):
    """Make the port's VirtualInterface record, and save it in the network cache."""

    name = "record_port"

    def do(self) -> None:
        work, tools, vif = self.work, self.tools, self.vif
        tools.interfaces.create(work.context, work.uuid, vif.id, vif.mac, tag_of(work))
        save_cache(work, [*(other for other in guest.vifs(work) if other.id != vif.id), vif])


class PlugPort(AttachStep):
    """Plug the interface."""

    name = "plug_port"

    def do(self) -> None:
        try:
            plug_port(self.work, self.vif)
        except SwitchUnavailable:
            raise
        except VifPlugError as error:
            raise _failed(self.work, error) from error


class AttachNic(AttachStep):
    """Attach the card to the guest, now and in its definition; without a guest, at its next start.
    """

    name = "attach_nic"

    def do(self) -> None:
        work = self.work
        try:
            self.tools.hypervisor.attach_nic(work.uuid, guest.nic_of(work, self.vif))
        except DomainNotFound:
            LOG.info("Server %s has no guest now; it starts with port %s", work.uuid, self.vif.id)
        except HypervisorUnavailable:
            raise
        except HypervisorError as error:
            raise _failed(work, error) from error


class DescribeNic(DescribeDevices, AttachStep):
    """Save device_metadata if the interface has a tag or a VLAN."""

    name = "describe_nic"

    def do(self) -> None:
        if not tag_of(self.work) and not self.vif.details.get("vlan"):
            return
        try:
            super().do()
        except DomainNotFound:
            LOG.warning("Server %s has no guest now, in which port %s had a place to tell of",
                        self.work.uuid, self.vif.id)  # fmt: skip


def requested(work: Work) -> PortRequest:
    """What is to be attached."""
    arguments = work.arguments
    address = arguments.get("requested_ip")
    return PortRequest(
        network_id=arguments.get("network_id"),
        port_id=arguments.get("port_id"),
        fixed_ip=str(address) if address else None,
        tag=arguments.get("tag"),
    )


def tag_of(work: Work) -> str | None:
    """The tag that the interface is to have."""
    return work.arguments.get("tag") or None


def attached(work: Work) -> Vif | None:
    """The interface as it was bound; None before that."""
    found = network_info.load(AttachNotes.of(work.notes).attach_vif)
    return found[0] if found else None


def save_cache(work: Work, vifs: Sequence[Vif]) -> None:
    """Save the network cache, unless it says that already."""
    cache = work.instance.get("info_cache")
    text = network_info.dump(vifs)
    if text == network_info.dump(network_info.cached(work.instance)):
        return
    work.tools.info_caches.save(work.context, work.uuid, text)
    if cache is not None:
        cache.data["network_info"] = text


def _unplug(work: Work, vif: Vif) -> None:
    """While the switch does not answer it stays; the next start of the guest unplugs it."""
    try:
        unplug_port(work, vif)
    except SwitchUnavailable as error:
        LOG.warning("The interface of port %s of server %s stays until the switch is back: %s",
                    vif.id, work.uuid, error)  # fmt: skip


def _failed(work: Work, error: NovaLiteError) -> InterfaceAttachFailed:
    return InterfaceAttachFailed(
        f"Failed to attach network adapter device to {work.uuid}: {error.message}"
    )
