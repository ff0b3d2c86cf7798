"""Content of the config drive, from a server and its request."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

from nova_lite.configdrive import content, options, writer
from nova_lite.configdrive.data import DriveData
from nova_lite.errors import ConfigDriveError
from nova_lite.services import devices, guest
from nova_lite.services.work import Work

PASSWORDS = ("admin_password", "new_pass", "rescue_password")
# What the drive alone brings into the guest; user data can be read from the record again.
SECRETS = (*PASSWORDS, "injected_files")


def write_config_drive(work: Work, path: Path) -> None:
    """Make the drive at ``path``; see ``configdrive`` for what is on it.

    :raises RequestSecretsLost: a password or a file for it is
    """
    work.require(*SECRETS)
    conf = work.tools.conf
    data = DriveData(
        server=work.server,
        vifs=tuple(guest.vifs(work)),
        admin_password=_password(work),
        devices=devices.described(work),
        files=_files(work.arguments.get("injected_files") or ()),
        dedicated_cpus=tuple(guest.dedicated_cpus(work)),
        security_groups=tuple(
            group for group in work.arguments.get("security_groups") or () if isinstance(group, str)
        ),
        block_devices=guest.block_devices(work),
        dhcp_domain=conf.api.dhcp_domain,
        skip_ec2=tuple(conf.api.config_drive_skip_versions.split()),
        vendor_static=options.vendor_static(conf.api),
    )
    writer.write(
        path,
        content.drive_files(data, os.urandom(content.SEED_BYTES)),
        drive_format=conf.config_drive_format,
        mkisofs_cmd=conf.mkisofs_cmd,
    )


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
