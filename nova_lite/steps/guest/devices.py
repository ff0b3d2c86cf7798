"""Steps that tell of a server's devices: device_metadata, by whose tags a guest finds its disks and
interfaces, and the ports in the guest's definition."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from nova_lite.errors import NovaLiteError
from nova_lite.services import guest, shares, tpm
from nova_lite.services.devices import (
    _new,
    _told_shares,
    described,
    record,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Plan, Step
from nova_lite.wire import decode
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

NIC = "NetworkInterfaceMetadata"


class DescribeDevices(Step):
    """Save the device_metadata of a server that has tagged devices, for the metadata service.

    Nothing is saved where the record says the same already, as it does of most servers: nothing.
    """

    name = "describe_devices"

    def do(self) -> None:
        devices = described(self.work)
        said = record(devices) if devices else None
        if _plain(said) != _plain(self.work.instance.get("device_metadata")):
            self.tools.instances.save(
                self.work.context, self.work.instance, device_metadata=said
            )


class DescribePorts(Step):
    """Write the server's ports into the guest's definition, where tools look for them.

    As in stock, a guest that cannot be told keeps its card: its next start tells them.

    :param without: a port that is leaving
    """

    name = "describe_ports"

    def __init__(self, work: Work, without: str | None = None) -> None:
        super().__init__(work)
        self._without = without

    def do(self) -> None:
        work = self.work
        ports = [vif for vif in guest.vifs(work) if vif.id != self._without]
        try:
            self.tools.hypervisor.describe(work.uuid, guest.description(work, ports))
        except NovaLiteError as error:
            LOG.warning("The ports of server %s in the metadata of its guest are those of before, "
                        "until it is started anew: %s",
                        work.uuid, error)  # fmt: skip


def _plain(value: Any) -> Any:
    """The fields of an object and of those in it, without what their versions and changes are."""
    if isinstance(value, WireObject):
        return {"": value.name, **{key: _plain(value[key]) for key in value.data}}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class ActivateShares(Step):
    """Set the share mappings to active, and save the shares' tags in device_metadata."""

    name = "activate_shares"

    def do(self) -> None:
        work = self.work
        given = shares.mappings(work)
        for mapping in given:
            self.tools.share_mappings.save(work.context, mapping, shares.ACTIVE)
        if _told_shares(work) != {mapping["share_id"]: mapping["tag"] for mapping in given}:
            said = record(described(work))
            self.tools.instances.save(work.context, work.instance, device_metadata=said)


def to_activate(work: Work) -> tuple[Step, ...]:
    """The steps to take after the guest was started."""
    return (ActivateShares(work),) if shares.possible(work) else ()


class ForgetTpmKey(Step):
    """Delete the key of the server's TPM from the key manager."""

    name = "forget_tpm_key"

    def do(self) -> None:
        tpm.forget_key(self.work)


def to_forget_key(work: Work) -> tuple[Step, ...]:
    """The steps to take for a server that is deleted, whose guest is removed."""
    return (ForgetTpmKey(work),) if tpm.key_id(work) else ()


class SettleTpmKey(Step):
    """Delete the key of a server that has no TPM any more when a resize, or its revert, is over.

    :param before, after: fields of its record with the flavors that it had, and is to have
    """

    name = "settle_tpm_key"

    def __init__(self, work: Work, before: str, after: str) -> None:
        super().__init__(work)
        self._fields = before, after

    def do(self) -> None:
        before, after = (self.work.instance.get(field) for field in self._fields)
        if before is not None and after is not None:  # else it is over already
            tpm.settle(self.work, decode.flavor(before), decode.flavor(after))


def to_settle_key(work: Work, before: str, after: str) -> Plan:
    """The stage with that step, for a server that has a key."""
    return [(SettleTpmKey(work, before, after),)] if tpm.key_id(work) else []


class UntagDevice(Step):
    """Remove a detached volume from device_metadata."""

    name = "untag_device"

    def __init__(self, work: Work, volume_id: str) -> None:
        super().__init__(work)
        self._volume_id = volume_id

    def do(self) -> None:
        untag(self.work, lambda device: device.get("serial") == self._volume_id)


class UntagNic(Step):
    """Remove a detached network interface from device_metadata.

    :param mac: its MAC address
    """

    name = "untag_nic"

    def __init__(self, work: Work, mac: str) -> None:
        super().__init__(work)
        self._mac = mac

    def do(self) -> None:
        untag_nic(self.work, self._mac)


def untag_nic(work: Work, mac: str) -> None:
    """Remove a network interface from device_metadata, if it is there."""
    untag(work, lambda device: device.name == NIC and device.get("mac") == mac)


def untag(work: Work, leaves: Callable[[WireObject], bool]) -> None:
    """Remove devices from device_metadata; asks nobody where none leaves it."""
    metadata = work.instance.get("device_metadata")
    if metadata is None:
        return
    left = [device for device in metadata["devices"] if not leaves(device)]
    if len(left) < len(metadata["devices"]):
        said = _new("InstanceDeviceMetadata", devices=left)
        work.tools.instances.save(work.context, work.instance, device_metadata=said)
