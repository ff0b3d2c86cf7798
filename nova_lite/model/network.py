"""Virtual interfaces as Neutron describes them, typed; ``wire.network_info`` writes Nova's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oslo_utils import strutils

NORMAL = "normal"  # the vnic_type of an interface that is not a piece of hardware
CREATE_TAP = "ovs_create_tap"  # of binding:vif_details


@dataclass(frozen=True)
class FixedIp:
    address: str
    version: int
    floating_ips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subnet:
    """A subnet with those of its addresses that the interface holds."""

    cidr: str
    version: int
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    ips: tuple[FixedIp, ...] = ()
    routes: tuple[Mapping[str, Any], ...] = ()  # {"cidr": ..., "gateway": ...}
    dhcp_server: str | None = None
    enable_dhcp: bool = True
    ipv6_address_mode: str | None = None


@dataclass(frozen=True)
class Network:
    """A network; ``mtu`` in bytes, ``bridge`` the host bridge its ports hang on.

    ``meta`` keeps what a stored network had beyond these fields, so that it is written back.
    """

    id: str
    label: str = ""
    bridge: str | None = None
    mtu: int | None = None
    project_id: str | None = None
    physical_network: str | None = None
    tunneled: bool = False
    injected: bool = False
    subnets: tuple[Subnet, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Vif:
    """One port bound to this host.

    ``vif_type``/``details``/``vnic_type``/``profile`` are Neutron's ``binding:*``. ``preserve`` is
    true for a port that existed before the server: it is unbound, not deleted, with the server.
    ``active`` false means a network-vif-plugged event is still to come. ``tag`` and ``queues`` are
    the server's own affair: Nova's network info does not hold them. ``meta`` as in Network.
    """

    id: str
    mac: str
    network: Network
    vif_type: str
    details: Mapping[str, Any] = field(default_factory=dict)
    vnic_type: str = NORMAL
    profile: Mapping[str, Any] = field(default_factory=dict)
    devname: str = ""
    ovs_interfaceid: str | None = None
    active: bool = False
    preserve: bool = False
    tag: str | None = None
    queues: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hybrid(self) -> bool:
        """Whether it goes through a Linux bridge of its own, where iptables filters it."""
        return bool(self.details.get("ovs_hybrid_plug"))

    @property
    def made_before(self) -> bool:
        """Whether Neutron wants its tap made before the guest starts (since 2026.1)."""
        return not self.hybrid and bool(self.details.get(CREATE_TAP))

    @property
    def made_by_libvirt(self) -> Vif:
        """The same port, whose tap libvirt makes when the guest starts."""
        return replace(self, details={**self.details, CREATE_TAP: False})

    @property
    def trusted(self) -> bool:
        """Whether the guest may change the addresses of the hardware behind it, by its profile."""
        return strutils.bool_from_string(self.profile.get("trusted"))
