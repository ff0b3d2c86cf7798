"""Errors of images and local disks."""

from __future__ import annotations

from nova_lite.errors.base import NovaLiteError, Verdict


class ImageNotFound(NovaLiteError):
    nova_name, code, verdict, expected = "ImageNotFound", 404, Verdict.ABORT, True


class ImageNotAuthorized(NovaLiteError):
    nova_name, code, verdict, expected = "ImageNotAuthorized", 403, Verdict.ABORT, True


class ImageUnavailable(NovaLiteError):
    nova_name, code, expected = "GlanceConnectionFailed", 503, True


class ImageCorrupt(NovaLiteError):
    """Other bytes arrived than the image service promises: by its fault, or on the way here."""

    nova_name, code, expected = "ImageUnacceptable", 400, True


class ImageUnacceptable(NovaLiteError):
    nova_name, code, verdict, expected = "ImageUnacceptable", 400, Verdict.ABORT, True


class ImageQuotaExceeded(NovaLiteError):
    nova_name, code, verdict, expected = "ImageQuotaExceeded", 413, Verdict.ABORT, True


class FlavorDiskTooSmall(NovaLiteError):
    nova_name, code, verdict, expected = "FlavorDiskSmallerThanImage", 400, Verdict.ABORT, True


class FlavorMemoryTooSmall(NovaLiteError):
    nova_name, code, verdict, expected = "FlavorMemoryTooSmall", 400, Verdict.ABORT, True


class DiskFull(NovaLiteError):
    nova_name, expected = "ComputeResourcesUnavailable", True


class DiskError(NovaLiteError):
    nova_name = "InternalError"


class RemoteHostUnreachable(DiskError):
    """The other host does not answer ssh or rsync, or has stopped to do so."""

    expected = True


class RemoteHostRefused(DiskError):
    """The other host does not let this one in, is not the one that is known, or lacks something."""

    expected = True


class ConfigDriveError(NovaLiteError):
    nova_name = "ConfigDriveMkfsFailed"


class VendorDataUnavailable(NovaLiteError):
    """A service of [api]vendordata_dynamic_targets gives no answer."""

    expected = True
