"""Ports that are a piece of the host's hardware: SR-IOV functions, whole cards, vDPA devices.

Their drivers are there (drivers/vif/sriov.py, vdpa.py), but nothing here claims PCI devices: two
servers might get the same one. So no server is accepted with such a port. This is the place to
lift it, for a vnic_type at a time; what lies behind it is for PCI devices of all kinds:
``definable.refuse`` (requests for PCI devices in a server's records), ``port_requests`` (the same
in a boot request) and ``live_xml.foreign_devices`` (what the definition of a guest has).
"""

from __future__ import annotations

from nova_lite.model.network import NORMAL

ACCEPTED = (NORMAL,)  # the vnic types of ports that servers may have


def is_accepted(vnic_type: str | None) -> bool:
    """Whether a server may have ports of that vnic_type; Neutron leaves normal out at times."""
    return (vnic_type or NORMAL) in ACCEPTED
