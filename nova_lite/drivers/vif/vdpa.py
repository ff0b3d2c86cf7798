"""Ports that are a vDPA device (ovs.vdpa): the guest has a virtio card whose data path is hardware,
switched by Open vSwitch in the card.
"""

from __future__ import annotations

from nova_lite.drivers.vif import pci
from nova_lite.drivers.vif.sriov import OffloadedVifs
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif


class VdpaVifs(OffloadedVifs):
    """See the module."""

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        return NicSpec(
            mac=vif.mac,
            plug="vdpa",
            source_path=pci.vdpa_device(pci.slot_of(vif)),
            model=None,
            shaped=False,
        )
