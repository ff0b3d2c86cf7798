"""Device tags: by which of its disks and network cards the guest finds what its user meant."""

from __future__ import annotations

from nova_lite.services import shares
from nova_lite.services.devices import (
    _new,
    _told_shares,
    described,
    record,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class DescribeDevices(Step):
    """Save where the tagged devices are, for the metadata service; nothing for most servers."""

    name = "describe_devices"

    def do(self) -> None:
        devices = described(self.work)
        if devices:
            self.tools.instances.save(
                self.work.context, self.work.instance, device_metadata=record(devices)
            )


class ActivateShares(Step):
    """Say that the guest has its shares, and in its metadata by which tags it finds them."""

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
    """What has to be done after the guest was started."""
    return (ActivateShares(work),) if shares.possible(work) else ()


class UntagDevice(Step):
    """Say no more where a tagged volume is that the server has no more."""

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
