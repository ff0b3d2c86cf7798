"""The unversioned payloads, which Ceilometer and most billing systems read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.notifications.periods import Period
from nova_lite.notifications.subject import Detail, Subject, Trouble
from nova_lite.wire.objects import WireObject, unwrap

_IMAGE = "image_"
# Never on the notification topics: passwords, and what a user hands to the guest alone.
_SECRET = ("_pass", "password", "token", "user_data", "injected_files", "connection_info")
_MESSAGE_LIMIT = 255


def server(subject: Subject, detail: Detail) -> dict[str, Any]:
    """The payload of ``compute.instance.*``; ``image_ref_url`` is the image's id until it is sent,
    since its address may have to be asked for."""
    instance = subject.instance
    flavor = instance["flavor"]
    root, ephemeral = int(flavor["root_gb"]), int(flavor.get("ephemeral_gb", 0))
    payload = {
        "tenant_id": instance.get("project_id"),
        "user_id": instance.get("user_id"),
        "instance_id": instance["uuid"],
        "display_name": instance.get("display_name"),
        "reservation_id": instance.get("reservation_id"),
        "hostname": instance.get("hostname"),
        "instance_type": flavor.get("name", ""),
        "instance_type_id": instance.get("instance_type_id"),
        "instance_flavor_id": flavor.get("flavorid", ""),
        "architecture": instance.get("architecture"),
        "memory_mb": flavor["memory_mb"],
        "disk_gb": root + ephemeral,
        "vcpus": flavor["vcpus"],
        "root_gb": root,
        "ephemeral_gb": ephemeral,
        "host": instance.get("host"),
        "node": instance.get("node"),
        "availability_zone": instance.get("availability_zone"),
        "cell_name": instance.get("cell_name") or "",
        "created_at": str(_moment(instance.get("created_at"))),
        **{name: _stamp(instance.get(name)) for name in ("terminated_at", "deleted_at")},
        "launched_at": _stamp(instance.get("launched_at")),
        "image_ref_url": instance.get("image_ref"),
        "os_type": instance.get("os_type"),
        "kernel_id": instance.get("kernel_id"),
        "ramdisk_id": instance.get("ramdisk_id"),
        "state": instance.get("vm_state"),
        "state_description": instance.get("task_state") or "",
        "progress": int(instance.get("progress", 0)) or "",
        "access_ip_v4": instance.get("access_ip_v4"),
        "access_ip_v6": instance.get("access_ip_v6"),
        "image_meta": image_meta(instance.get("system_metadata", {})),
        "metadata": dict(instance.get("metadata", {})),
        **detail.legacy,
    }
    if detail.addresses:
        payload["fixed_ips"] = _fixed_ips(subject)
    return payload


def exists(subject: Subject, period: Period) -> dict[str, Any]:
    """The payload of ``compute.instance.exists``."""
    times = {
        "audit_period_beginning": str(period.beginning),
        "audit_period_ending": str(period.ending),
    }
    return server(subject, Detail(legacy=times))


def fault(failure: Failure) -> dict[str, Any]:
    """What an ``error`` notification about a server says of its reason."""
    return {
        "exception": failure.message,
        "message": failure.message[:_MESSAGE_LIMIT],
        "code": failure.code,
    }


def exception(trouble: Trouble) -> dict[str, Any]:
    """The payload of the notification that is named after a failed RPC method.

    Stock puts the whole request there, the user's token among it; secrets are left out here.
    """
    failure = trouble.failure
    told = {"kwargs": {"code": failure.code}, "message": failure.message,
            "class": failure.nova_name}  # fmt: skip
    return {"exception": str(told), "args": plain(trouble.arguments)}


def volume_usage(used: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of ``volume.usage``."""
    renamed = {"project_id": "tenant_id", "instance_uuid": "instance_id"}
    payload = {renamed.get(name, name): value for name, value in used.items()}
    return {**payload, "last_refreshed": str(_moment(used["last_refreshed"]) or "")}


def image_meta(system_metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The image's properties as the server's system metadata keeps them."""
    return {
        key.removeprefix(_IMAGE): value
        for key, value in system_metadata.items()
        if key.startswith(_IMAGE)
    }


def plain(value: Any) -> Any:
    """Objects as the dicts of their fields, without secrets."""
    if isinstance(value, WireObject):
        return plain(value.data)
    if isinstance(value, Mapping):
        if "nova_object.data" in value:
            return plain(value["nova_object.data"])
        return {key: plain(item) for key, item in value.items() if not _secret(key)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return unwrap(value)


def _secret(key: Any) -> bool:
    return any(word in str(key) for word in _SECRET)


def _fixed_ips(subject: Subject) -> list[dict[str, Any]]:
    def address(ip: str, kind: str, version: int) -> dict[str, Any]:
        return {"address": ip, "type": kind, "version": version, "meta": {}}

    return [
        {
            **address(ip.address, "fixed", ip.version),
            "floating_ips": [address(floating, "floating", 4) for floating in ip.floating_ips],
            "label": vif.network.label,
            "vif_mac": vif.mac,
        }
        for vif in subject.vifs
        for subnet in vif.network.subnets
        for ip in subnet.ips
    ]


def _moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


def _stamp(text: str | None) -> str:
    moment = _moment(text)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") if moment else ""
