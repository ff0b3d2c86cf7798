"""What can be refused before anything is made."""

from __future__ import annotations

import re
from collections.abc import Collection

from nova_lite.errors import (
    FlavorDiskTooSmall,
    FlavorMemoryTooSmall,
    ImageUnacceptable,
    UnsupportedByHost,
)
from nova_lite.guest.devices import tpm
from nova_lite.guest.properties import Properties
from nova_lite.model.server import Flavor, Image, Server

GIB = 1024**3
# Extra specs of features that this agent does not have: pattern -> what it is.
NOT_YET = (
    (re.compile(r"resources[^:]*:VGPU$"), "virtual GPUs"),
    (re.compile(r"resources[^:]*:CUSTOM_PMEM_NAMESPACE_"), "persistent memory"),
    (re.compile(r"pci_passthrough:alias$"), "PCI passthrough"),
    (re.compile(r"accel:device_profile$"), "accelerators"),
    (re.compile(r"hw:pmem$"), "persistent memory"),
)


def validate(server: Server, *, swtpm: Collection[str] = ()) -> None:
    """Check flavor against image and refuse features that do not exist here yet.

    :param swtpm: for whose keys this host offers emulated TPMs; none: it does not
    :raises ImageUnacceptable: the image is not active
    :raises FlavorMemoryTooSmall: less memory than the image's min_ram
    :raises FlavorDiskTooSmall: a root disk smaller than the image or its min_disk
    :raises UnsupportedByHost: a feature that only other hosts have
    :raises InvalidGuestConfig: a property of such a feature is invalid
    """
    image_fits(server.flavor, server.image)
    refuse_features(server, swtpm=swtpm)


def refuse_features(server: Server, *, swtpm: Collection[str] = ()) -> None:
    """Refuse a guest that flavor or image want to have what this agent cannot give to it.

    :param swtpm: for whose keys this host offers emulated TPMs; none: it does not
    :raises UnsupportedByHost: a feature that only other hosts have
    :raises InvalidGuestConfig: a property of such a feature is invalid
    """
    properties = Properties(server)
    for spec in server.flavor.extra_specs:
        for pattern, feature in NOT_YET:
            if pattern.match(spec):
                raise UnsupportedByHost(
                    f"extra spec {spec} of flavor {server.flavor.name}: {feature} are not "
                    f"supported by this host"
                )
    if properties.agreed("mem_encryption") or properties.agreed("mem_encryption_model"):
        raise UnsupportedByHost("hw:mem_encryption: this host has no memory encryption")
    if properties.agreed("ephemeral_encryption"):
        raise UnsupportedByHost("hw:ephemeral_encryption: this host does not encrypt local disks")
    tpm(properties, swtpm=swtpm)


def image_fits(flavor: Flavor, image: Image) -> None:
    """Check whether a root disk that the flavor allows can be made from an image.

    :raises ImageUnacceptable, FlavorMemoryTooSmall, FlavorDiskTooSmall: as of ``validate``
    """
    if image.id and image.status != "active":
        raise ImageUnacceptable(
            f"Image {image.id} is not active (it is {image.status}); wait for its upload or "
            f"reactivate it"
        )
    if flavor.memory_mb < image.min_ram:
        raise FlavorMemoryTooSmall(
            f"Flavor {flavor.name} has {flavor.memory_mb} MiB of memory, but image "
            f"{image.id or 'of the volume'} needs {image.min_ram} MiB (min_ram)"
        )
    # root_gb 0 means as large as the image; a volume's size is not the flavor's.
    if not image.id or not flavor.root_gb:
        return
    if flavor.root_gb < image.min_disk:
        raise FlavorDiskTooSmall(
            f"Flavor {flavor.name} has a root disk of {flavor.root_gb} GiB, but image {image.id} "
            f"needs {image.min_disk} GiB (min_disk)"
        )
    if flavor.root_gb * GIB < image.size:
        raise FlavorDiskTooSmall(
            f"Flavor {flavor.name} has a root disk of {flavor.root_gb} GiB, but image {image.id} "
            f"has {image.size} bytes"
        )
