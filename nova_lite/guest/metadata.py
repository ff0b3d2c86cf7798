"""What a guest's definition says about its server, for tools that read domain metadata.

Element names are those of Nova's XML namespace http://openstack.org/xmlns/libvirt/nova/1.1; the
driver turns the nested data into that form.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from nova_lite.guest.policy import HostPolicy
from nova_lite.model.network import Vif
from nova_lite.model.server import Image, Server

# Guests (cloud-init's ds-identify among them) recognise the platform by these two names.
MANUFACTURER = "OpenStack Foundation"
PRODUCT = "OpenStack Nova"
FAMILY = "Virtual Machine"


def describe(
    server: Server, vifs: Iterable[Vif], policy: HostPolicy, creation_time: float
) -> dict[str, object]:
    """The nova metadata of a guest.

    :param creation_time: seconds since the epoch, written in UTC
    """
    flavor, image = server.flavor, server.image
    return {
        "package": {"version": policy.package_version},
        "name": server.display_name or server.uuid,
        "creationTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(creation_time)),
        "flavor": {
            "name": flavor.name,
            "id": flavor.flavorid,
            "memory": flavor.memory_mb,
            "disk": flavor.root_gb,
            "swap": flavor.swap_mb,
            "ephemeral": flavor.ephemeral_gb,
            "vcpus": flavor.vcpus,
            "extraSpecs": dict(flavor.extra_specs),
        },
        "image": _image(image),
        "owner": {
            "user": {"uuid": server.user_id, "name": server.user_name or "N/A"},
            "project": {"uuid": server.project_id, "name": server.project_name or "N/A"},
        },
        "root": {"type": "image" if image.id else "volume", "uuid": image.id or ""},
        "ports": [_port(vif) for vif in vifs],
    }


def _image(image: Image) -> dict[str, object]:
    known = {
        "containerFormat": image.container_format,
        "diskFormat": image.disk_format,
        "minDisk": image.min_disk,
        "minRam": image.min_ram,
    }
    return {
        "uuid": image.id or "",
        **{name: value for name, value in known.items() if value is not None},
        "properties": {
            name: str(value)
            for name, value in sorted(image.properties.items())
            if name.startswith(("hw_", "img_", "os_"))
        },
    }


def _port(vif: Vif) -> dict[str, object]:
    ips = [
        {"type": "fixed", "address": ip.address, "ipVersion": str(ip.version)}
        for subnet in vif.network.subnets
        for ip in subnet.ips
    ]
    return {"uuid": vif.id, "ips": ips}


def smbios(server: Server, policy: HostPolicy) -> Mapping[str, str]:
    """The guest's SMBIOS system table, under libvirt's names."""
    serial = server.uuid if policy.host_serial == "unique" else policy.host_serial
    table = {
        "manufacturer": MANUFACTURER,
        "product": PRODUCT,
        "version": policy.package_version,
        "serial": serial or "",
        "uuid": server.uuid,
        "family": FAMILY,
    }
    return {name: value for name, value in table.items() if value}
