"""Guests with UEFI firmware, and the file with its variables."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import CloudError, DevCloud, wait_for


def uefi_image(api: Api, later: Callable[[Callable[[], Any]], None]) -> str:
    """An image for guests with UEFI; they stay in the firmware's shell, for there is no loader in
    it that it could start.

    :param later: is given what deletes it
    """
    image = api.upload_image(
        api.cloud.state / "images" / "tiny-fast.qcow2", "qcow2",
        hw_firmware_type="uefi", hw_machine_type="q35", os_shutdown_timeout="1",
    )  # fmt: skip
    later(lambda: api.delete_image(image))
    return image


def skip_without_uefi(cloud: DevCloud, host: str) -> None:
    """Skip where libvirt refuses what nova-compute 2026.2 says of every guest with UEFI."""
    name = f"{NAME_PREFIX}-uefi"
    guest = (
        f"<domain type='qemu'><name>{name}</name><memory>65536</memory><os firmware='efi'>"
        "<type arch='x86_64' machine='q35'>hvm</type><loader secure='no'/></os>"
        "<features><acpi/></features></domain>"
    )
    try:
        cloud.on(host, "sh", "-c", f'echo "{guest}" | virsh define /dev/stdin')
    except CloudError as error:
        if "firmware autoselection" not in str(error):
            raise
        reason = str(error).rpartition("error: ")[2]
        pytest.skip(f"nova-compute on {host} can have no guest with UEFI: {reason}")
    cloud.on(host, "virsh", "undefine", "--nvram", name)


def remembers(cloud: DevCloud, node: str, server: str) -> str:
    """The file with the variables of a guest that runs, once it has others than a new guest."""
    path, new_one = _variables(cloud, node, server)
    wait_for("the firmware to remember", lambda: md5(cloud, node, path) != new_one, 120, pause=1.0)
    return path


def _variables(cloud: DevCloud, node: str, server: str) -> tuple[str, str]:
    """Where the variables of a guest that runs are, and the checksum of those of a new guest."""
    root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", server))
    found = root.find("os/nvram")
    assert found is not None and found.text
    return found.text, md5(cloud, node, found.get("template", ""))


def md5(cloud: DevCloud, node: str, path: str) -> str:
    """Of a file; empty: there is none."""
    return (cloud.on(node, "md5sum", path, check=False).split() or [""])[0]
