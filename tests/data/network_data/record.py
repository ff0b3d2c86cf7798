"""Record what nova-compute makes of network info: ``PYTHON record.py >recorded.json``.

PYTHON is that of a virtual environment with nova. Each case is a list of interfaces as the network
cache has them, made from one that a real cloud wrote (../network_info/captured.json); beside it are
network_data.json and the injected network configuration, as nova's own functions make them.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

CAPTURED = Path(__file__).parents[1] / "network_info" / "captured.json"


def ip(address: str, kind: str, **more: Any) -> dict[str, Any]:
    version = 6 if ":" in address else 4
    return {"address": address, "type": kind, "version": version, "meta": {}, **more}


def subnet(cidr: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """A subnet in the cache's form. ``gateway``, ``dns`` and ``routes`` are plain addresses."""
    gateway = more.get("gateway")
    return {
        "cidr": cidr,
        "dns": [ip(address, "dns") for address in more.get("dns", ())],
        "gateway": ip(gateway, "gateway") if gateway
        else {"address": None, "type": "gateway", "version": None, "meta": {}},
        "ips": [ip(address, "fixed", floating_ips=[]) for address in addresses],
        "routes": [
            {"cidr": target, "gateway": ip(hop, "gateway"), "interface": None, "meta": {}}
            for target, hop in more.get("routes", ())
        ],
        "version": 6 if ":" in cidr else 4,
        "meta": more.get("meta", {"enable_dhcp": True}),
    }  # fmt: skip


FIXED = {"enable_dhcp": False}
V4 = subnet("10.1.0.0/24", "10.1.0.5", gateway="10.1.0.1", dns=("9.9.9.9", "8.8.4.4"))
V4_FIXED = subnet(
    "10.2.0.0/22", "10.2.0.5", "10.2.0.6", gateway="10.2.0.1", dns=("9.9.9.9",),
    routes=[("10.8.0.0/16", "10.2.0.254"), ("0.0.0.0/0", "10.2.0.253"),
            ("169.254.169.254/32", "10.2.0.2")], meta=FIXED,
)  # fmt: skip
V6_FIXED = subnet(
    "fd00:2::/64", "fd00:2::5", gateway="fd00:2::1", dns=("2620:fe::fe",),
    routes=[("fd00:8::/48", "fd00:2::fe")], meta=FIXED,
)  # fmt: skip


def v6(mode: str, address: str = "fd00:3::f816:3eff:fe0b:176e") -> dict[str, Any]:
    meta = {"enable_dhcp": True, "ipv6_address_mode": mode}
    return subnet("fd00:3::/64", address, gateway="fd00:3::1", dns=("2620:fe::9",), meta=meta)


# Name -> interfaces, each (subnets, changes of the network's meta, changes of the interface).
CASES: dict[str, list[tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]]] = {
    "no interfaces": [],
    "DHCP": [([V4], {}, {})],
    "no DHCP, routes, several addresses": [([V4_FIXED], {"mtu": 1300}, {})],
    "no DHCP, IPv6": [([V6_FIXED], {}, {})],
    "SLAAC": [([v6("slaac")], {}, {})],
    "DHCPv6 stateful": [([v6("dhcpv6-stateful")], {}, {})],
    "DHCPv6 stateless": [([v6("dhcpv6-stateless")], {}, {})],
    "DHCPv6 without a mode": [([subnet("fd00:4::/64", "fd00:4::5")], {}, {})],
    "dual stack": [([V4, v6("slaac")], {}, {})],
    "dual stack, IPv6 first": [([v6("dhcpv6-stateful"), V4_FIXED], {}, {})],
    "two IPv4 subnets": [([V4_FIXED, V4], {}, {})],
    "no gateway, no name servers": [([subnet("10.5.0.0/24", "10.5.0.5", meta=FIXED)], {}, {})],
    "a subnet without an address": [([subnet("10.5.0.0/24", gateway="10.5.0.1")], {}, {})],
    "an address in one subnet of two": [([subnet("10.5.0.0/24"), v6("slaac")], {}, {})],
    "no subnets": [([], {}, {}), ([V4], {}, {})],
    "several networks, name servers of both": [
        ([V4], {"mtu": 1500}, {}), ([V4_FIXED, V6_FIXED], {"mtu": 9000}, {}), ([V4], {}, {}),
    ],
    "a DHCP server's address": [
        ([subnet("10.6.0.0/24", "10.6.0.5", meta={"dhcp_server": "10.6.0.2"})], {}, {})
    ],
    "no MTU": [([V4_FIXED], {"mtu": None}, {})],
    "no device name": [([V4_FIXED], {}, {"devname": None}), ([V4], {}, {"devname": None})],
    "kinds of interfaces": [
        ([V4_FIXED], {}, {"type": kind})
        for kind in ("ovs", "bridge", "hw_veb", "hostdev_physical", "vhostuser", "tap", "macvtap",
                     "ib_hostdev", "binding_failed", "vrouter", "802.1qbh", "unbound")
    ],
    "injected": [([V4_FIXED, V6_FIXED], {"injected": True}, {})],
    "injected, IPv6 alone": [([V6_FIXED], {"injected": True}, {})],
    "injected beside others": [
        ([V4], {}, {}),
        ([V4_FIXED], {"injected": True}, {}),
        ([subnet("10.5.0.0/24", "10.5.0.5", meta=FIXED)], {"injected": True}, {}),
    ],
    "injected, with a DHCP server": [
        ([subnet("10.6.0.0/24", "10.6.0.5", meta={"dhcp_server": "10.6.0.2"})],
         {"injected": True}, {}),
    ],
    "injected without addresses": [([subnet("10.5.0.0/24")], {"injected": True}, {})],
}  # fmt: skip


def interfaces(case: str) -> list[dict[str, Any]]:
    """The interfaces of a case, as the network cache has them."""
    template = json.loads(CAPTURED.read_text())[0]["network_info"][0]
    made = []
    for number, (subnets, meta, changes) in enumerate(CASES[case]):
        vif = copy.deepcopy(template)
        vif |= {"id": f"c04e97f4-50cd-4925-a789-5c2867aace9{number:x}",
                "address": f"fa:16:3e:0f:05:{number:02x}", **changes}  # fmt: skip
        vif["network"]["subnets"] = subnets
        vif["network"]["meta"] |= meta
        made.append(vif)
    return made


def main() -> None:
    from nova.conf import CONF
    from nova.network.model import NetworkInfo
    from nova.virt import netutils

    CONF([], project="nova", default_config_files=[])
    found = []
    for case in CASES:
        text = json.dumps(interfaces(case))
        info = NetworkInfo.hydrate(text)
        found.append({
            "case": case,
            "network_info": json.loads(text),
            "network_data": netutils.get_network_metadata(info) or {},
            "injected": netutils.get_injected_network_template(info),
        })  # fmt: skip
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
