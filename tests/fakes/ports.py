"""Ports of every kind that there is a VIF driver for, as Neutron binds them."""

from __future__ import annotations

from dataclasses import replace

from nova_lite.model.network import FixedIp, Network, Subnet, Vif

PORT = "0725fe29-8b78-4274-82e5-3b20fc53d2c9"
SERVER = {
    "server_uuid": "344a9120-b410-41e7-af51-fddb339207ce",
    "server_name": "instance-00000001",
    "project_id": "f57d419d27dc404daabd811bcfc999e5",
}
SLOT = "0000:65:0a.1"
VIF = Vif(
    id=PORT,
    mac="fa:16:3e:ce:a2:fc",
    network=Network(
        id="c0404ec7-bfbe-4160-833b-831d9f414eb1",
        label="net",
        bridge="br-int",
        mtu=1442,
        subnets=(
            Subnet(
                "10.0.0.0/24",
                4,
                "10.0.0.1",
                ("10.0.0.2",),
                (FixedIp("10.0.0.5", 4, ("172.24.4.9",)),),
                ({"cidr": "10.1.0.0/16", "gateway": "10.0.0.3"},),
            ),
            Subnet("2001:db8::/64", 6, ips=(FixedIp("2001:db8::5", 6, ()),)),
        ),
    ),
    vif_type="ovs",
    details={"ovs_create_tap": True, "datapath_type": "netdev", "port_filter": True},
    devname="tap0725fe29-8b",
    ovs_interfaceid=PORT,
)
OVN_BEFORE_2026_2 = replace(VIF, details={"datapath_type": "netdev"})
HYBRID = replace(VIF, details={"ovs_hybrid_plug": True, "datapath_type": "netdev"})
BRIDGE = replace(
    VIF,
    vif_type="bridge",
    details={},
    network=replace(
        VIF.network, bridge="brqc0404ec7-bf", meta={"should_create_bridge": True}
    ),
)
TAP = replace(VIF, vif_type="tap", details={"mac_address": "00:61:fe:ed:ca:fe"})
MACVTAP = replace(
    VIF,
    vif_type="macvtap",
    details={
        "macvtap_source": "eth1", "macvtap_mode": "bridge", "physical_interface": "eth1",
    },
)  # fmt: skip
SOCKET = replace(
    VIF,
    vif_type="vhostuser",
    details={"vhostuser_socket": "/run/vhu/s", "vhostuser_mode": "client"},
)
DPDK = replace(
    VIF,
    vif_type="vhostuser",
    details={
        "vhostuser_socket": "/run/vhu/s", "vhostuser_mode": "server", "vhostuser_ovs_plug": True,
        "datapath_type": "netdev",
    },
)  # fmt: skip
_FUNCTION = replace(VIF, details={"vlan": "1021"}, profile={"pci_slot": SLOT})
DIRECT = replace(_FUNCTION, vif_type="hw_veb", vnic_type="direct")
MACVTAP_FUNCTION = replace(_FUNCTION, vif_type="hw_veb", vnic_type="macvtap")
PHYSICAL = replace(_FUNCTION, vif_type="hostdev_physical", vnic_type="direct-physical")
OFFLOADED = replace(_FUNCTION, vif_type="ovs", vnic_type="direct", details={"port_filter": True})
VDPA = replace(OFFLOADED, vnic_type="vdpa")
