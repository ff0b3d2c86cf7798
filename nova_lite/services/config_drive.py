"""Content of the config drive, from a server and its request."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from nova_lite.configdrive import content, options, writer
from nova_lite.configdrive.data import DriveData, Ec2Ids
from nova_lite.errors import ConfigDriveError
from nova_lite.services import devices, guest
from nova_lite.services.notes import PortNotes
from nova_lite.services.work import Work
from nova_lite.wire.objects import WireObject

PASSWORDS = ("admin_password", "new_pass", "rescue_password")
# What the drive alone brings into the guest; user data can be read from the record again.
SECRETS = (*PASSWORDS, "injected_files")


def write_config_drive(work: Work, path: Path) -> None:
    """Make the drive at ``path``; see ``configdrive`` for what is on it.

    :raises RequestSecretsLost: a password or a file for it is
    """
    work.require(*SECRETS)
    conf, instance = work.tools.conf, work.instance
    # The disks of a boot got their names after the server was decoded.
    root = instance.get("root_device_name")
    data = DriveData(
        server=replace(work.server, root_device_name=root),
        vifs=tuple(guest.vifs(work)),
        admin_password=_password(work),
        devices=devices.described(work),
        files=_files(work.arguments.get("injected_files") or ()),
        dedicated_cpus=tuple(guest.dedicated_cpus(work)),
        security_groups=tuple(_security_groups(work)),
        block_devices=guest.block_devices(work),
        ephemeral_device=instance.get("default_ephemeral_device"),
        swap_device=instance.get("default_swap_device"),
        ec2=_ec2(instance),
        dhcp_domain=conf.api.dhcp_domain,
        skip_ec2=tuple(conf.api.config_drive_skip_versions.split()),
        vendor_static=options.vendor_static(conf.api),
        vendor_dynamic=_vendor_dynamic(work),
    )
    writer.write(
        path,
        content.drive_files(data, os.urandom(content.SEED_BYTES)),
        drive_format=conf.config_drive_format,
        mkisofs_cmd=conf.mkisofs_cmd,
    )


def _security_groups(work: Work) -> list[str]:
    noted = PortNotes.of(work.notes).groups
    return work.tools.ports.security_groups(work.context, work.uuid) if noted is None else noted


def _vendor_dynamic(work: Work) -> dict[str, Any]:
    """What the operator's services say of the server."""
    if options.DYNAMIC not in work.tools.conf.api.vendordata_providers:
        return {}
    instance = work.instance
    roles = ",".join(work.context.roles or ())  # recorded only when the server is active
    question = {
        "project-id": instance.get("project_id"),
        "instance-id": work.uuid,
        "image-id": instance.get("image_ref"),
        "user-data": instance.get("user_data"),
        "hostname": instance.get("hostname"),
        "metadata": dict(instance.get("metadata", {})),
        "boot-roles": instance.get("system_metadata", {}).get("boot_roles", roles),
    }
    return work.tools.vendor_services.ask(work.uuid, question)


def _ec2(instance: WireObject) -> Ec2Ids:
    ids = instance.get("ec2_ids")
    return Ec2Ids(ids.get("kernel_id"), ids.get("ramdisk_id")) if ids else Ec2Ids()


def _password(work: Work) -> str | None:
    """The administrator's password of the request: boot, rebuild and rescue name it differently."""
    return next((work.arguments[name] for name in PASSWORDS if work.arguments.get(name)), None)


def _files(injected: Any) -> tuple[tuple[str, bytes], ...]:
    """Personality files of the request: [path, base64]."""
    try:
        return tuple((str(path), base64.b64decode(text)) for path, text in injected)
    except (ValueError, TypeError, binascii.Error):
        raise ConfigDriveError(
            "an injected file of the request is not [path, base64 content]"
        ) from None
