"""The versioned payloads: objects with a version each, which grow by new minor versions only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nova_lite.failures import Failure
from nova_lite.model.states import PowerState
from nova_lite.notifications.periods import Period
from nova_lite.notifications.subject import Detail, Subject
from nova_lite.wire.objects import DATA, NAME, NAMESPACE, VERSION, WireObject

# Those of 2026.2. A reader knows from them which fields to expect.
VERSIONS = {
    "AuditPeriodPayload": "1.0",
    "BlockDevicePayload": "1.0",
    "ExceptionPayload": "1.1",
    "FlavorPayload": "1.4",
    "InstanceActionPayload": "1.9",
    "InstanceActionRebuildPayload": "1.10",
    "InstanceActionRescuePayload": "1.4",
    "InstanceActionResizePrepPayload": "1.4",
    "InstanceActionSnapshotPayload": "1.10",
    "InstanceActionSharePayload": "1.0",
    "InstanceActionVolumePayload": "1.7",
    "InstanceActionVolumeSwapPayload": "1.9",
    "InstanceCreatePayload": "1.13",
    "InstanceExistsPayload": "2.1",
    "IpPayload": "1.0",
    "KeypairPayload": "1.0",
    "LibvirtErrorPayload": "1.0",
    "SharePayload": "1.0",
    "VolumeUsagePayload": "1.0",
}

# Fields that are an Instance's own, by their name in the payload where that differs.
_SAME = (
    "uuid", "user_id", "reservation_id", "display_name", "display_description", "host", "node",
    "os_type", "architecture", "availability_zone", "key_name", "kernel_id", "ramdisk_id",
    "created_at", "launched_at", "terminated_at", "deleted_at", "updated_at", "task_state",
)  # fmt: skip
_RENAMED = {
    "tenant_id": "project_id",
    "host_name": "hostname",
    "image_uuid": "image_ref",
    "state": "vm_state",
}
_FLAVOR = (
    "flavorid", "memory_mb", "vcpus", "root_gb", "ephemeral_gb", "name", "swap", "rxtx_factor",
    "vcpu_weight", "disabled", "is_public", "extra_specs", "description",
)  # fmt: skip
_KEYPAIR = ("user_id", "name", "fingerprint", "public_key", "type")
_MAPPING = ("device_name", "boot_index", "delete_on_termination", "volume_id", "tag")
_POWER = {
    PowerState.NOSTATE: "pending",
    PowerState.RUNNING: "running",
    PowerState.PAUSED: "paused",
    PowerState.SHUTDOWN: "shutdown",
    PowerState.CRASHED: "crashed",
    PowerState.SUSPENDED: "suspended",
}
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line \d+, in (?P<function>\S+)')


def action(subject: Subject, detail: Detail, failure: Failure | None) -> dict[str, Any]:
    """The payload of ``instance.<action>.<phase>``."""
    fields = {**server(subject), "fault": fault(failure) if failure else None, **detail.fields}
    return _payload(detail.payload, **fields)


def exists(subject: Subject, period: Period) -> dict[str, Any]:
    """The payload of ``instance.exists``."""
    audit = _payload(
        "AuditPeriod",
        audit_period_beginning=f"{period.beginning:%Y-%m-%dT%H:%M:%SZ}",
        audit_period_ending=f"{period.ending:%Y-%m-%dT%H:%M:%SZ}",
    )
    return _payload("InstanceExists", **server(subject), audit_period=audit)


def fault(failure: Failure) -> dict[str, Any]:
    """The payload of ``compute.exception``, also part of the errors about a server."""
    frames = list(_FRAME.finditer(failure.trace))
    file, function = (frames[-1]["file"], frames[-1]["function"]) if frames else ("", "unknown")
    return _payload(
        "Exception",
        module_name=_module(file),
        function_name=function,
        exception=failure.nova_name,
        exception_message=failure.message,
        traceback=failure.trace,
    )


def libvirt_error(address: str, failure: Failure) -> dict[str, Any]:
    """The payload of ``libvirt.connect.error``."""
    return _payload("LibvirtError", ip=address, reason=fault(failure))


def volume_usage(used: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of ``volume.usage``."""
    return _payload("VolumeUsage", **used)


def server(subject: Subject) -> dict[str, Any]:
    """Fields that every payload about a server has."""
    instance, context = subject.instance, subject.context
    # Periodic work is nobody's request.
    asked = bool(context.user_id and context.project_id)
    return {
        **{name: instance.get(name) for name in _SAME},
        **{name: instance.get(source) for name, source in _RENAMED.items()},
        "power_state": _POWER.get(PowerState(instance.get("power_state", 0))),
        "progress": int(instance.get("progress", 0)),
        "locked": bool(instance.get("locked")),
        "auto_disk_config": "AUTO" if instance.get("auto_disk_config") else "MANUAL",
        "metadata": dict(instance.get("metadata", {})),
        "locked_reason": instance.get("system_metadata", {}).get("locked_reason"),
        "flavor": flavor(instance["flavor"]),
        "ip_addresses": _addresses(subject),
        "block_devices": _block_devices(subject),
        "shares": _shares(subject),
        "request_id": context.request_id if asked else None,
        "action_initiator_user": context.user_id,
        "action_initiator_project": context.project_id,
    }


def creation(subject: Subject) -> dict[str, Any]:
    """What the payload of a boot has in addition."""
    instance = subject.instance
    keypairs, tags = instance.get("keypairs"), instance.get("tags")
    return {
        "keypairs": [
            _payload("Keypair", **{name: keypair.get(name) for name in _KEYPAIR})
            for keypair in (keypairs.objects() if keypairs else ())
        ],
        "tags": [tag["tag"] for tag in (tags.objects() if tags else ())],
        "trusted_image_certificates": certificates(instance),
        "instance_name": subject.name,
    }


def certificates(instance: WireObject) -> list[str] | None:
    """Ids of the certificates that the image's signature must be made with."""
    trusted = instance.get("trusted_certs")
    return list(trusted["ids"]) if trusted else None


def flavor(record: WireObject) -> dict[str, Any]:
    """A flavor as a server keeps it: the projects that may see it are not known there."""
    fields = {name: record.get(name) for name in _FLAVOR}
    return _payload("Flavor", **{**fields, "extra_specs": fields["extra_specs"] or {}},
                    projects=None)  # fmt: skip


def _shares(subject: Subject) -> list[dict[str, Any]] | None:
    """Where a share is exported may hold a secret."""
    if subject.shares is None:
        return None
    return [
        _payload(
            "Share",
            share_mapping_uuid=mapping["uuid"],
            **{name: mapping[name] for name in ("share_id", "status", "tag")},
        )
        for mapping in subject.shares
    ]


def _addresses(subject: Subject) -> list[dict[str, Any]]:
    return [
        _payload(
            "Ip",
            label=vif.network.label,
            mac=vif.mac,
            meta={},
            port_uuid=vif.id,
            version=ip.version,
            address=ip.address,
            device_name=vif.devname,
        )
        for vif in subject.vifs
        for subnet in vif.network.subnets
        for ip in subnet.ips
    ]


def _block_devices(subject: Subject) -> list[dict[str, Any]] | None:
    """Volumes only."""
    if subject.mappings is None:
        return None
    return [
        _payload("BlockDevice", **{name: mapping.get(name) for name in _MAPPING})
        for mapping in subject.mappings
        if mapping.get("volume_id")
    ]


def _module(file: str) -> str:
    """The dotted name of a module of ours; of other files, their name."""
    _, found, inside = file.rpartition("/nova_lite/")
    name = f"nova_lite/{inside}" if found else file.rpartition("/")[2]
    return name.removesuffix(".py").replace("/", ".") or "unknown"


def _payload(name: str, /, **fields: Any) -> dict[str, Any]:
    kind = f"{name}Payload"
    return {NAME: kind, NAMESPACE: "nova", VERSION: VERSIONS[kind], DATA: fields}
