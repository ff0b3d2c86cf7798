"""Versions of the objects that this agent makes and asks for.

They are those of the oldest supported control plane (2025.1). Later releases up to 2026.2 know all
of them; only classes that never leave or enter at top level differ there. ``releases`` has what
each release knows, and ``outgoing`` holds all messages to it.
"""

from __future__ import annotations

VERSIONS: dict[str, str] = {
    "BlockDeviceMapping": "1.21",
    "BlockDeviceMappingList": "1.18",
    "ComputeNode": "1.19",
    "ComputeNodeList": "1.17",
    "ConsoleAuthToken": "1.3",
    "EC2Ids": "1.0",
    "Flavor": "1.2",
    "HVSpec": "1.2",
    "Instance": "2.8",
    "InstanceActionEvent": "1.4",
    "InstanceAction": "1.2",
    "InstanceDeviceMetadata": "1.0",
    "InstanceFault": "1.2",
    "InstanceGroup": "1.11",
    "InstanceInfoCache": "1.5",
    "InstanceList": "2.6",
    "InstanceNUMACell": "1.6",
    "InstanceNUMATopology": "1.3",
    "InstancePCIRequest": "1.4",
    "InstancePCIRequests": "1.1",
    "KeyPair": "1.4",
    "KeyPairList": "1.3",
    "Migration": "1.8",
    "MigrationContext": "1.2",
    "MigrationList": "1.5",
    "PciDevice": "1.7",
    "PciDeviceList": "1.3",
    "PciDevicePool": "1.1",
    "PciDevicePoolList": "1.1",
    "Resource": "1.0",
    "ResourceList": "1.0",
    "ResourceMetadata": "1.0",
    "DeviceBus": "1.0",
    "DeviceMetadata": "1.0",
    "DiskMetadata": "1.0",
    "IDEDeviceBus": "1.0",
    "NetworkInterfaceMetadata": "1.2",
    "PCIDeviceBus": "1.0",
    "SCSIDeviceBus": "1.0",
    "USBDeviceBus": "1.0",
    "SecurityGroup": "1.2",
    "SecurityGroupList": "1.1",
    "Service": "1.22",
    "ServiceList": "1.19",
    "ShareMapping": "1.2",
    "ShareMappingList": "1.0",
    "ShareMetadata": "1.0",
    "Tag": "1.1",
    "TagList": "1.1",
    "TaskLog": "1.0",
    "VolumeUsage": "1.0",
    "TrustedCerts": "1.0",
    "VirtCPUFeature": "1.0",
    "VirtCPUModel": "1.0",
    "VirtCPUTopology": "1.0",
    "VirtualInterface": "1.3",
    "VirtualInterfaceList": "1.0",
}

# Classes that may be nested in a reply, by the class asked for: the conductor wants their versions.
_INSTANCE_TREE = (
    "Instance",
    "InstanceInfoCache",
    "Flavor",
    "InstanceFault",
    "InstanceNUMATopology",
    "InstanceNUMACell",
    "VirtCPUTopology",
    "InstancePCIRequests",
    "InstancePCIRequest",
    "PciDeviceList",
    "PciDevice",
    "KeyPairList",
    "KeyPair",
    "MigrationContext",
    "ResourceList",
    "Resource",
    "ResourceMetadata",
    "SecurityGroupList",
    "SecurityGroup",
    "TagList",
    "Tag",
    "TrustedCerts",
    "EC2Ids",
    "VirtCPUModel",
    "VirtCPUFeature",
    "InstanceDeviceMetadata",
    "DeviceMetadata",
    "DeviceBus",
    "ShareMetadata",
    "ServiceList",
    "Service",
    "ComputeNode",
    "HVSpec",
    "PciDevicePoolList",
    "PciDevicePool",
)
_NODE_TREE = ("ComputeNode", "HVSpec", "PciDevicePoolList", "PciDevicePool")
_TREES: dict[str, tuple[str, ...]] = {
    "Instance": _INSTANCE_TREE,
    "InstanceList": ("InstanceList", *_INSTANCE_TREE),
    "BlockDeviceMapping": ("BlockDeviceMapping", *_INSTANCE_TREE),
    "BlockDeviceMappingList": ("BlockDeviceMappingList", "BlockDeviceMapping", *_INSTANCE_TREE),
    "ComputeNode": _NODE_TREE,
    "ComputeNodeList": ("ComputeNodeList", *_NODE_TREE),
    "Service": ("Service", *_NODE_TREE),
    "ServiceList": ("ServiceList", "Service", *_NODE_TREE),
    "MigrationList": ("MigrationList", "Migration"),
    "ShareMappingList": ("ShareMappingList", "ShareMapping"),
    "VirtualInterfaceList": ("VirtualInterfaceList", "VirtualInterface"),
}


def manifest(name: str) -> dict[str, str]:
    """Versions to announce when asking for an object: its own and those nested in it."""
    return {member: VERSIONS[member] for member in _TREES.get(name, (name,))}


def sendable(name: str, version: str) -> str:
    """The version in which what we know of an object may be sent.

    One that is newer than ours goes out as ours. nova-conductor answers an object that is too new
    for it by asking a conductor, itself, to make it older, with the object in the question: a loop
    that keeps all its workers busy for ever.
    """
    known = VERSIONS.get(name)
    if known is None or numbers(version) <= numbers(known):
        return version
    return known


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare; what is no number is newer than all."""
    return tuple(int(part) if part.isdigit() else 10**9 for part in version.split("."))
