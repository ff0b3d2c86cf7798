"""From Nova's objects and dicts to the model."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import UnionType
from typing import Any
from uuid import UUID

from nova_lite.errors import MalformedMessage
from nova_lite.model.server import BlockDevice, Flavor, Image, Server
from nova_lite.wire import connection_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

# What an argument of a message must be: a class, or several as in ``WireObject | None``.
Kind = type[Any] | UnionType

IMAGE_KEY = "image_"
# Keys that the API stores beside the image properties under the same prefix.
_IMAGE_ATTRIBUTES = (
    "base_image_ref",
    "min_disk",
    "min_ram",
    "disk_format",
    "container_format",
    "size",
    "checksum",
    "name",
    "id",
)


def utcnow() -> str:
    """Now in the form that DateTime fields travel in."""
    return moment(datetime.datetime.now(datetime.UTC))


def moment(time: datetime.datetime) -> str:
    """A time (UTC, naive or not) in the form that DateTime fields travel in."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_uuid(value: Any) -> bool:
    """Whether it is text in the form of a uuid, hyphens and all."""
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def flavor(obj: WireObject) -> Flavor:
    """A Flavor object."""
    return Flavor(
        name=obj.get("name", ""),
        flavorid=obj.get("flavorid", ""),
        vcpus=int(obj["vcpus"]),
        memory_mb=int(obj["memory_mb"]),
        root_gb=int(obj["root_gb"]),
        ephemeral_gb=int(obj.get("ephemeral_gb", 0)),
        swap_mb=int(obj.get("swap", 0)),
        rxtx_factor=float(obj.get("rxtx_factor", 1.0)),
        extra_specs=dict(obj.get("extra_specs", {})),
    )


def image(properties: Mapping[str, Any]) -> Image:
    """The Glance image dict of build_and_run_instance and unshelve_instance ({}: from a volume)."""
    return Image(
        id=properties.get("id"),
        name=properties.get("name") or "",
        disk_format=properties.get("disk_format"),
        container_format=properties.get("container_format"),
        checksum=properties.get("checksum"),
        size=int(properties.get("size") or 0),
        min_disk=int(properties.get("min_disk") or 0),
        min_ram=int(properties.get("min_ram") or 0),
        status=properties.get("status") or "active",
        properties=dict(properties.get("properties") or {}),
    )


def image_of_server(instance: WireObject) -> Image:
    """What the server remembers of its image in system_metadata (``image_*`` keys)."""
    stored = {
        key.removeprefix(IMAGE_KEY): value
        for key, value in dict(instance.get("system_metadata", {})).items()
        if key.startswith(IMAGE_KEY)
    }
    return Image(
        id=instance.get("image_ref") or None,
        name=stored.get("name") or "",
        disk_format=stored.get("disk_format"),
        container_format=stored.get("container_format"),
        min_disk=int(stored.get("min_disk") or 0),
        min_ram=int(stored.get("min_ram") or 0),
        properties={k: v for k, v in stored.items() if k not in _IMAGE_ATTRIBUTES},
    )


def domain_name(instance: WireObject, name_template: str) -> str:
    """The name of a server's domain, by nova.conf's ``instance_name_template``.

    The template is about the id of the record (``instance-%08x``) or names fields of the Instance
    (``%(uuid)s``); with a field that was not sent, or none at all, it is the uuid, as in nova-api.
    """
    try:
        return name_template % instance["id"]
    except TypeError:
        pass  # it names fields
    except ValueError:
        return str(instance["uuid"])
    try:
        return name_template % {field: _as_text(instance, field) for field in instance.data}
    except (KeyError, TypeError, ValueError):
        return str(instance["uuid"])


def _as_text(instance: WireObject, field: str) -> Any:
    """A field's value in the form in which nova-api writes it."""
    value = instance.data[field]
    if field.endswith("_at") and isinstance(value, str):
        return str(datetime.datetime.fromisoformat(value))
    return value


def server(
    instance: WireObject,
    *,
    name_template: str,
    context: RequestContext,
    image_dict: Mapping[str, Any] | None = None,
) -> Server:
    """An Instance as the server it describes.

    ``name_template`` is nova.conf's ``instance_name_template``. ``image_dict`` is the image of the
    request, if that has one: it describes the server's image at boot. Afterwards, and where it is
    another one (the snapshot of a shelved server), the image is read from system_metadata.
    """
    system = dict(instance.get("system_metadata", {}))
    keypair = next(iter(instance["keypairs"].objects()), None) if instance.get("keypairs") else None
    ec2 = instance.get("ec2_ids")
    return Server(
        uuid=str(instance["uuid"]),
        domain_name=domain_name(instance, name_template),
        display_name=instance.get("display_name", ""),
        hostname=instance.get("hostname", ""),
        flavor=flavor(instance["flavor"]),
        image=_image_of(instance, image_dict),
        project_id=instance.get("project_id", ""),
        project_name=system.get("owner_project_name") or context.project_name or "",
        user_id=instance.get("user_id", ""),
        user_name=system.get("owner_user_name") or context.user_name or "",
        key_name=instance.get("key_name"),
        key_data=instance.get("key_data"),
        key_type=keypair.get("type", "ssh") if keypair else "ssh",
        user_data=instance.get("user_data"),
        metadata=dict(instance.get("metadata", {})),
        availability_zone=instance.get("availability_zone"),
        launch_index=int(instance.get("launch_index", 0)),
        reservation_id=instance.get("reservation_id"),
        config_drive=str(instance.get("config_drive", "")).lower() in ("true", "1", "yes", "on"),
        kernel_id=instance.get("kernel_id") or None,
        ramdisk_id=instance.get("ramdisk_id") or None,
        root_device_name=instance.get("root_device_name"),
        ec2_instance_id=ec2.get("instance_id") if ec2 else None,
        ec2_ami_id=ec2.get("ami_id") if ec2 else None,
        created_at=instance.get("created_at"),
    )


def _image_of(instance: WireObject, image_dict: Mapping[str, Any] | None) -> Image:
    own = instance.get("image_ref")
    asked = image_dict is not None and (not own or image_dict.get("id") == own)
    found = image(image_dict or {}) if asked else image_of_server(instance)
    # The API also sends the image that a volume is to be made from.
    return found if own else replace(found, id=None)


def block_devices(mappings: Iterable[WireObject]) -> tuple[BlockDevice, ...]:
    """BlockDeviceMapping objects, ``no_device`` entries left out."""
    return tuple(
        BlockDevice(
            uuid=str(bdm.get("uuid", "")),
            source_type=bdm["source_type"],
            destination_type=bdm["destination_type"],
            boot_index=bdm.get("boot_index"),
            device_name=bdm.get("device_name"),
            disk_bus=bdm.get("disk_bus"),
            device_type=bdm.get("device_type"),
            guest_format=bdm.get("guest_format"),
            size_gb=bdm.get("volume_size"),
            image_id=bdm.get("image_id"),
            volume_id=bdm.get("volume_id"),
            tag=bdm.get("tag"),
            snapshot_id=bdm.get("snapshot_id"),
            volume_type=bdm.get("volume_type"),
            attachment_id=bdm.get("attachment_id"),
            delete_on_termination=bool(bdm.get("delete_on_termination")),
            connection=connection_info.load(bdm.get("connection_info"), bdm.get("volume_id")),
        )
        for bdm in mappings
        if not bdm.get("no_device")
    )


def required(arguments: Mapping[str, Any], name: str, kind: Kind = object) -> Any:
    """An argument of an RPC message.

    :param kind: what it must be, such as ``str`` or ``WireObject | None``; ``object`` is anything
    :raises MalformedMessage: it is missing or of another kind
    """
    if name not in arguments:
        raise MalformedMessage(f"the message lacks its argument {name!r}")
    value = arguments[name]
    if not isinstance(value, kind):
        wanted = kind.__name__ if isinstance(kind, type) else str(kind)
        raise MalformedMessage(f"argument {name!r} is a {type(value).__name__}, not a {wanted}")
    return value
