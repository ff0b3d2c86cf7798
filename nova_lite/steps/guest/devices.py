"""Steps that save device_metadata: the tags by which a guest finds its disks and interfaces."""

from __future__ import annotations

from nova_lite.services import shares, tpm
from nova_lite.services.devices import (
    _new,
    _told_shares,
    described,
    record,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class DescribeDevices(Step):
    """Save the device_metadata of a server that has tagged devices, for the metadata service."""

    name = "describe_devices"

    def do(self) -> None:
        devices = described(self.work)
        if devices:
            self.tools.instances.save(
                self.work.context, self.work.instance, device_metadata=record(devices)
            )


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


class UntagDevice(Step):
    """Remove a detached volume from device_metadata."""

    name = "untag_device"

    def __init__(self, work: Work, volume_id: str) -> None:
        super().__init__(work)
        self._volume_id = volume_id

    def do(self) -> None:
        work = self.work
        metadata = work.instance.get("device_metadata")
        if metadata is None:
            return
        left = [device for device in metadata["devices"] if device.get("serial") != self._volume_id]
        if len(left) < len(metadata["devices"]):
            said = _new("InstanceDeviceMetadata", devices=left)
            self.tools.instances.save(work.context, work.instance, device_metadata=said)
