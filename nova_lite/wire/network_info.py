"""Nova's network info, the JSON of InstanceInfoCache.network_info, to and from the model.

nova-api renders a server's addresses straight from it, so the shape is exact: nested dicts whose
every level ends in a ``meta`` dict for what has no field of its own.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any

from nova_lite.errors import MalformedMessage
from nova_lite.model.network import NORMAL, FixedIp, Network, Subnet, Vif
from nova_lite.wire.objects import WireObject
from nova_lite.wire.versions import VERSIONS

NETWORK_META = ("injected", "tenant_id", "mtu", "physical_network", "tunneled")


def dump(vifs: Iterable[Vif]) -> str:
    """The interfaces as JSON; ``tag`` and ``queues`` have no place in it and are left out."""
    return json.dumps([_vif_out(vif) for vif in vifs])


def load(text: str | None) -> list[Vif]:
    """The interfaces of a stored network info; None and '' are a server without any.

    Keys that older releases did not write may be missing, unknown ones are kept in ``meta``.

    :raises MalformedMessage: it is not network info at all
    """
    try:
        return [_vif_in(vif) for vif in json.loads(text or "[]")]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise MalformedMessage(
            f"network_info of the server's info cache cannot be read ({exc!r}): rebuild it by "
            "detaching and attaching a port, or clear it"
        ) from exc


def cached(instance: WireObject) -> list[Vif]:
    """The interfaces in the info cache of a server, which may have none.

    :raises MalformedMessage: see :func:`load`
    """
    cache = instance.get("info_cache")
    return load(cache.get("network_info") if cache else None)


def cache_of(server_uuid: str, text: str) -> WireObject:
    """An info cache as it is saved, by itself or with the server's record.

    :param text: the interfaces in JSON
    """
    return WireObject.new(
        "InstanceInfoCache",
        VERSIONS["InstanceInfoCache"],
        instance_uuid=server_uuid,
        network_info=text,
    )


def readable(instance: WireObject) -> list[Vif] | None:
    """As :func:`cached`; None where the cache cannot be read."""
    try:
        return cached(instance)
    except MalformedMessage:
        return None


def _vif_out(vif: Vif) -> dict[str, Any]:
    meta = dict(vif.meta)
    own = {key: meta.pop(key, default) for key, default in _VIF_EXTRA.items()}
    return {
        "id": vif.id,
        "address": vif.mac,
        "network": _network_out(vif.network),
        "type": vif.vif_type,
        "details": dict(vif.details),
        "devname": vif.devname,
        "ovs_interfaceid": vif.ovs_interfaceid,
        "qbh_params": own["qbh_params"],
        "qbg_params": own["qbg_params"],
        "active": vif.active,
        "vnic_type": vif.vnic_type,
        "profile": dict(vif.profile),
        "preserve_on_delete": vif.preserve,
        "delegate_create": own["delegate_create"],
        "meta": meta,
    }


# Keys of an interface without a meaning here, and what they are on a new interface.
_VIF_EXTRA = {"qbh_params": None, "qbg_params": None, "delegate_create": True}


def _vif_in(raw: Mapping[str, Any]) -> Vif:
    extra = {
        key: raw[key] for key, default in _VIF_EXTRA.items() if raw.get(key, default) != default
    }
    return Vif(
        id=raw["id"],
        mac=raw["address"],
        network=_network_in(raw["network"]),
        vif_type=raw.get("type") or "",
        details=dict(raw.get("details") or {}),
        vnic_type=raw.get("vnic_type") or NORMAL,
        profile=dict(raw.get("profile") or {}),
        devname=raw.get("devname") or "",
        ovs_interfaceid=raw.get("ovs_interfaceid"),
        active=bool(raw.get("active")),
        preserve=bool(raw.get("preserve_on_delete")),
        meta={**(raw.get("meta") or {}), **extra},
    )


def _network_out(network: Network) -> dict[str, Any]:
    known = {
        "injected": network.injected,
        "tenant_id": network.project_id,
        "mtu": network.mtu,
        "physical_network": network.physical_network,
        "tunneled": network.tunneled,
    }
    return {
        "id": network.id,
        "bridge": network.bridge,
        "label": network.label,
        "subnets": [_subnet_out(subnet) for subnet in network.subnets],
        "meta": {**known, **network.meta},
    }


def _network_in(raw: Mapping[str, Any]) -> Network:
    meta = dict(raw.get("meta") or {})
    own = {key: meta.pop(key, None) for key in NETWORK_META}
    return Network(
        id=raw["id"],
        label=raw.get("label") or "",
        bridge=raw.get("bridge"),
        mtu=own["mtu"],
        project_id=own["tenant_id"],
        physical_network=own["physical_network"],
        tunneled=bool(own["tunneled"]),
        injected=bool(own["injected"]),
        subnets=tuple(_subnet_in(subnet) for subnet in raw.get("subnets") or ()),
        meta=meta,
    )


def _subnet_out(subnet: Subnet) -> dict[str, Any]:
    meta: dict[str, Any] = {"enable_dhcp": subnet.enable_dhcp}
    if subnet.ipv6_address_mode:
        meta["ipv6_address_mode"] = subnet.ipv6_address_mode
    if subnet.dhcp_server:
        meta["dhcp_server"] = subnet.dhcp_server
    return {
        "cidr": subnet.cidr,
        "dns": [_ip_out(address, "dns") for address in subnet.dns],
        "gateway": _ip_out(subnet.gateway, "gateway"),
        "ips": [_fixed_out(ip) for ip in subnet.ips],
        "routes": [
            {
                "cidr": route["cidr"],
                "gateway": _ip_out(route.get("gateway"), "gateway"),
                "interface": None,
                "meta": {},
            }
            for route in subnet.routes
        ],
        "version": subnet.version,
        "meta": meta,
    }


def _subnet_in(raw: Mapping[str, Any]) -> Subnet:
    meta = raw.get("meta") or {}
    return Subnet(
        cidr=raw["cidr"],
        version=raw.get("version") or ipaddress.ip_network(raw["cidr"], strict=False).version,
        gateway=_address(raw.get("gateway")),
        dns=tuple(ip["address"] for ip in raw.get("dns") or ()),
        ips=tuple(_fixed_in(ip) for ip in raw.get("ips") or ()),
        routes=tuple(
            {"cidr": route["cidr"], "gateway": _address(route.get("gateway"))}
            for route in raw.get("routes") or ()
        ),
        dhcp_server=meta.get("dhcp_server"),
        # Releases that did not write the flag wrote a server only where DHCP was on.
        enable_dhcp=bool(meta.get("enable_dhcp", "dhcp_server" in meta)),
        ipv6_address_mode=meta.get("ipv6_address_mode"),
    )


def _fixed_out(ip: FixedIp) -> dict[str, Any]:
    floating = [_ip_out(address, "floating") for address in ip.floating_ips]
    return {**_ip_out(ip.address, "fixed"), "version": ip.version, "floating_ips": floating}


def _fixed_in(raw: Mapping[str, Any]) -> FixedIp:
    return FixedIp(
        address=raw["address"],
        version=raw.get("version") or ipaddress.ip_address(raw["address"]).version,
        floating_ips=tuple(ip["address"] for ip in raw.get("floating_ips") or ()),
    )


def _ip_out(address: str | None, kind: str) -> dict[str, Any]:
    version = ipaddress.ip_address(address).version if address else None
    return {"address": address, "type": kind, "version": version, "meta": {}}


def _address(raw: Mapping[str, Any] | None) -> str | None:
    return raw.get("address") if raw else None
