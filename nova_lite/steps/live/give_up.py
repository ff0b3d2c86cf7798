"""Steps of a host that was prepared for a running server which does not come."""

from __future__ import annotations

import logging

from nova_lite.errors import NovaLiteError
from nova_lite.inventory.claims import Role
from nova_lite.model.live_migration import Migrating
from nova_lite.model.volume import Connection
from nova_lite.services import (
    arrivals,
    guest,
    interfaces,
    live_disks,
    live_ports,
    migrate_data,
    tpm,
    volume_keys,
)
from nova_lite.services.claiming import rest_cpus
from nova_lite.services.disk_files import directory
from nova_lite.services.volumes import disconnect_own, volume_mappings
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.steps.guest.domain import forget_variables, remove
from nova_lite.steps.live.prepare import require_no_guest
from nova_lite.wire import connection_info, network_info
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class RemoveArriving(Step):
    """Remove what has come of the guest; one that runs here, or was let go by somebody, stays, and
    with it all that it uses."""

    name = "remove_arriving"

    def do(self) -> None:
        work = self.work
        found = arrivals.await_rest(work)
        if found is None:
            return
        if found.migrating == Migrating.ARRIVING:
            LOG.warning("libvirt does not drop the guest of server %s, which did not come whole: "
                        "it is destroyed", work.uuid)  # fmt: skip
        require_no_guest(work)
        remove(work)


class UnplugArriving(Step):
    """Unplug the interfaces that were plugged for the bindings to this host."""

    name = "unplug_arriving"

    def __init__(self, work: Work, data: WireObject | None) -> None:
        super().__init__(work)
        self._data = data

    def do(self) -> None:
        work = self.work
        if self._data is not None:
            vifs = migrate_data.target_vifs(self._data, guest.vifs(work))
            work.note(vifs=network_info.dump(vifs))
        interfaces.leave(work)


class DisconnectArriving(Step):
    """Disconnect the volumes that are connected here; the host that has the server gives back their
    attachments, and asks for this, too (``remove_volume_connection``)."""

    name = "disconnect_arriving"

    def __init__(self, work: Work, data: WireObject | None) -> None:
        super().__init__(work)
        self._data = data

    def do(self) -> None:
        work, failure = self.work, None
        for volume in migrate_data.volumes(self._data) if self._data is not None else ():
            connection = volume.connection or self._found(volume.volume_id)
            if connection is None:
                continue
            try:
                self.tools.volumes.of(connection).disconnect(connection, work.uuid)
                volume_keys.forget(work, connection)
            except NovaLiteError as error:
                LOG.warning("Volume %s of server %s: %s", volume.volume_id, work.uuid, error)
                failure = failure or error
        if failure is not None:
            raise failure

    def _found(self, volume_id: str) -> Connection | None:
        """How this host has connected a volume, after the power failed and the message is without
        it: the mapping may be the other host's again."""
        work = self.work
        mapping = self.tools.block_devices.by_volume(work.context, work.uuid, volume_id)
        info = mapping.get("connection_info") if mapping is not None else None
        known = connection_info.load(info, volume_id)
        if known is None:
            return None
        return self.tools.volumes.of(known).on_this_host(known, work.uuid)


class DisconnectGivenUp(Step):
    """Disconnect the volumes of which this host alone knows how it has connected them: they are
    those of the host that has the server."""

    name = "disconnect_given_up"

    def do(self) -> None:
        for mapping in volume_mappings(self.work):
            disconnect_own(self.work, mapping)


class RemoveArrivingFiles(Step):
    """Remove the files that were made for the guest; those of anybody else stay."""

    name = "remove_arriving_files"

    def __init__(self, work: Work, data: WireObject | None) -> None:
        super().__init__(work)
        self._data = data

    def do(self) -> None:
        work = self.work
        forget_variables(work)
        live_disks.remove(work)
        if self._data is None:
            return
        foreign = live_disks.foreign_directory(work, self._data)
        if foreign is not None:
            LOG.warning("Server %s does not come to this host, and %s is left alone: it was not "
                        "made for that", work.uuid, directory(work))  # fmt: skip


class ReleaseArriving(Step):
    """Give back what was claimed, what opens the TPM, and the ports' bindings to this host."""

    name = "release_arriving"

    def do(self) -> None:
        work, tools = self.work, self.tools
        tools.claims.release(work.uuid, Role.INCOMING)
        tools.serial_ports.forget(work.uuid)
        tpm.leave(work)
        rest_cpus(tools)
        tools.usage_changed()
        live_ports.drop(work, live_ports.ids(work), tools.host)
        live_ports.announce(work, None)
