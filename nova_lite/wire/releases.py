"""The releases whose control planes this agent works with, and which objects they know.

From the registry of nova's objects (``nova.objects.register_all``) of 2025.1, 2025.2, 2026.1 and
2026.2; ``tests/data/object_versions.json`` is a record of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Release:
    """A release of nova.

    :param service: the service version that its nova-conductor and nova-compute report
    :param objects: versions of all objects that it knows, by class
    """

    name: str
    service: int
    objects: dict[str, str] = field(repr=False)


_FIRST: dict[str, str] = {
    "Aggregate": "1.3", "AggregateList": "1.3", "BlockDeviceMapping": "1.21",
    "BlockDeviceMappingList": "1.18", "BuildRequest": "1.3", "BuildRequestList": "1.0",
    "CellMapping": "1.1", "CellMappingList": "1.1", "ComputeNode": "1.19",
    "ComputeNodeList": "1.17", "ConsoleAuthToken": "1.3", "CpuDiagnostics": "1.0",
    "Destination": "1.4", "DeviceBus": "1.0", "DeviceMetadata": "1.0", "Diagnostics": "1.0",
    "DiskDiagnostics": "1.0", "DiskMetadata": "1.0", "EC2Ids": "1.0",
    "EC2InstanceMapping": "1.0", "Flavor": "1.2", "FlavorList": "1.1", "HVSpec": "1.2",
    "HostMapping": "1.0", "HostMappingList": "1.1", "HyperVLiveMigrateData": "1.5",
    "IDEDeviceBus": "1.0", "ImageMeta": "1.8", "ImageMetaProps": "1.39", "Instance": "2.8",
    "InstanceAction": "1.2", "InstanceActionEvent": "1.4", "InstanceActionEventList": "1.1",
    "InstanceActionList": "1.1", "InstanceDeviceMetadata": "1.0",
    "InstanceExternalEvent": "1.5", "InstanceFault": "1.2", "InstanceFaultList": "1.2",
    "InstanceGroup": "1.11", "InstanceGroupList": "1.8", "InstanceInfoCache": "1.5",
    "InstanceList": "2.6", "InstanceMapping": "1.2", "InstanceMappingList": "1.3",
    "InstanceNUMACell": "1.6", "InstanceNUMATopology": "1.3", "InstancePCIRequest": "1.4",
    "InstancePCIRequests": "1.1", "KeyPair": "1.4", "KeyPairList": "1.3",
    "LibvirtLiveMigrateBDMInfo": "1.1", "LibvirtLiveMigrateData": "1.13",
    "LibvirtLiveMigrateNUMAInfo": "1.0", "LibvirtVPMEMDevice": "1.0",
    "MemoryDiagnostics": "1.0", "Migration": "1.8", "MigrationContext": "1.2",
    "MigrationList": "1.5", "MonitorMetric": "1.1", "MonitorMetricList": "1.1",
    "NUMACell": "1.5", "NUMAPagesTopology": "1.1", "NUMATopology": "1.2",
    "NUMATopologyLimits": "1.1", "NetworkInterfaceMetadata": "1.2", "NetworkMetadata": "1.0",
    "NetworkRequest": "1.3", "NetworkRequestList": "1.1", "NicDiagnostics": "1.0",
    "PCIDeviceBus": "1.0", "PciDevice": "1.7", "PciDeviceList": "1.3", "PciDevicePool": "1.1",
    "PciDevicePoolList": "1.1", "Quotas": "1.3", "QuotasNoOp": "1.3", "RequestGroup": "1.3",
    "RequestLevelParams": "1.1", "RequestSpec": "1.15", "Resource": "1.0",
    "ResourceList": "1.0", "ResourceMetadata": "1.0", "S3ImageMapping": "1.0",
    "SCSIDeviceBus": "1.0", "SchedulerLimits": "1.0", "SchedulerRetries": "1.1",
    "SecurityGroup": "1.2", "SecurityGroupList": "1.1", "Selection": "1.1", "Service": "1.22",
    "ServiceList": "1.19", "ShareMapping": "1.2", "ShareMappingList": "1.0",
    "ShareMetadata": "1.0", "Tag": "1.1", "TagList": "1.1", "TaskLog": "1.0",
    "TaskLogList": "1.0", "TrustedCerts": "1.0", "USBDeviceBus": "1.0", "VIFMigrateData": "1.0",
    "VMwareLiveMigrateData": "1.1", "VirtCPUFeature": "1.0", "VirtCPUModel": "1.0",
    "VirtCPUTopology": "1.0", "VirtualInterface": "1.3", "VirtualInterfaceList": "1.0",
    "VolumeUsage": "1.0", "XenDeviceBus": "1.0",
}  # fmt: skip
_SECOND = {**_FIRST, "ImageMetaProps": "1.42"}
_THIRD = {**_SECOND, "LibvirtLiveMigrateData": "1.14"}
_FOURTH = {**_THIRD, "ImageMetaProps": "1.44", "ShareMappingList": "1.1"}

RELEASES = (
    Release("2025.1", 68, _FIRST),
    Release("2025.2", 70, _SECOND),
    Release("2026.1", 72, _THIRD),
    Release("2026.2", 74, _FOURTH),
)
OLDEST = RELEASES[0]

# Fields that an object has only from a version on. All other newer versions have new values alone.
YOUNGER_FIELDS: dict[str, dict[str, str]] = {
    "ImageMetaProps": {
        "hw_sound_model": "1.40", "hw_usb_model": "1.41", "hw_redirected_usb_ports": "1.41",
        "hw_mem_encryption_model": "1.42",
    },
    "LibvirtLiveMigrateData": {"vtpm_secret_uuid": "1.14", "vtpm_secret_value": "1.14"},
}  # fmt: skip


def of_service(version: int | None) -> Release:
    """The newest release that a control plane which reports this service version is at least.

    :param version: None when it is unknown: the oldest one, which all others understand
    """
    known = [release for release in RELEASES if version is not None and release.service <= version]
    return known[-1] if known else OLDEST
