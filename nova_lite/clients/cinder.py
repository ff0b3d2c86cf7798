"""Cinder, only the calls a compute host makes; its refusals as errors of ours.

https://docs.openstack.org/api-ref/block-storage/v3/ ; attachments as of microversion 3.44: an
attachment is *reserved* until its host's connector is known, *attaching* while the host connects,
and *attached* when that was completed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nova_lite import errors
from nova_lite.clients.rest import answering, reason, token_expired
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

GROUP = "cinder"
# Microversions: the least that knows what is asked for.
ATTACHMENTS = "3.44"
SHARED_TARGETS = ("3.69", "3.48")  # both know them; the first one also where it always matters
REIMAGE = "3.68"

# An attachment is made and taken away by the storage itself, which may be short of breath.
PATIENTLY: dict[str, Any] = {"retriable_status_codes": [500, 503, 504], "status_code_retries": 4}
# What is made twice by two calls.
ONCE: dict[str, Any] = {"connect_retries": 0, "status_code_retries": 0}

_NOT_FOUND: dict[str, type[errors.NovaLiteError]] = {
    "volumes": errors.VolumeNotFound,
    "attachments": errors.VolumeAttachmentNotFound,
    "snapshots": errors.SnapshotNotFound,
}
_REFUSED: dict[int, type[errors.NovaLiteError]] = {
    400: errors.VolumeRequestInvalid,
    403: errors.VolumeForbidden,
    406: errors.VolumeServiceTooOld,
    409: errors.InvalidVolume,
    413: errors.VolumeQuotaExceeded,
}


class Cinder:
    """Cinder's REST calls with the token of the request they are made for.

    What the user may not do, or not see, is not done: only a request without a token (the agent's
    own work), or whose token has expired meanwhile, is made with the credentials of [cinder].
    Volumes are made with the user's token alone, for they belong to the project of who makes them.

    Every method may raise VolumeServiceUnavailable (no answer), CredentialsInvalid,
    VolumeServiceError (Cinder, or the storage behind it, failed) and the child of InvalidVolume
    that a refusal means.

    :param sessions: where adapters come from
    :param conf: the options as read from nova.conf
    """

    def __init__(self, sessions: Sessions, conf: Any) -> None:
        self._sessions = sessions
        self._options = conf.cinder
        if self._options.debug:
            for name in (__name__, "os_brick"):
                logging.getLogger(name).setLevel(logging.DEBUG)

    # --- volumes ----------------------------------------------------------------------------
    def volume(self, context: RequestContext, volume_id: str) -> dict[str, Any]:
        """A volume: status, size (GiB), multiattach, attachments (completed ones), encrypted,
        shared_targets, service_uuid, volume_image_metadata ...

        :raises VolumeNotFound: it is gone, or the user may not see it
        """
        path = f"volumes/{volume_id}"
        try:
            answer = self._call(context, "GET", path, SHARED_TARGETS[0])
        except errors.VolumeServiceTooOld:
            answer = self._call(context, "GET", path, SHARED_TARGETS[1])
        volume: dict[str, Any] = answer["volume"]
        return volume

    def find_volumes(
        self, context: RequestContext, metadata: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """The project's volumes that have all of these metadata."""
        # Cinder reads the filter as a Python dict. The rest is for our own credentials, whose
        # project is another one; of a user Cinder ignores it.
        query = {"metadata": repr(dict(metadata))}
        if context.project_id:
            query.update(all_tenants="1", project_id=context.project_id)
        answer = self._call(context, "GET", "volumes/detail", params=query)
        found: list[dict[str, Any]] = list(answer["volumes"])
        while answer.get("volumes_links"):
            following = {**query, "marker": found[-1]["id"]}
            answer = self._call(context, "GET", "volumes/detail", params=following)
            found += answer["volumes"]
        return found

    def create_volume(self, context: RequestContext, size_gb: int, **values: Any) -> dict[str, Any]:
        """Begin to create a volume. Never repeated by itself: after VolumeServiceUnavailable it
        may exist or not.

        :param values: name, description, volume_type, availability_zone, imageRef, snapshot_id,
            metadata ...
        :raises VolumeQuotaExceeded: the project has too many, or too large ones
        :raises RequestTokenExpired: the request has no token that Cinder accepts
        """
        asked = {name: value for name, value in values.items() if value is not None}
        body = {"volume": {"size": size_gb, **asked}}
        answer = self._call(context, "POST", "volumes", json=body, fall_back=False, **ONCE)
        volume: dict[str, Any] = answer["volume"]
        return volume

    def delete_volume(self, context: RequestContext, volume_id: str) -> None:
        """Begin to delete a volume; one that is gone is success.

        :raises VolumeRequestInvalid: its state forbids it
        """
        try:
            self._call(context, "DELETE", f"volumes/{volume_id}")
        except errors.VolumeNotFound:
            pass

    def encryption(self, context: RequestContext, volume_id: str) -> dict[str, Any]:
        """How a volume is encrypted: encryption_key_id, provider, control_location, cipher,
        key_size; of one that is not, all but the first are missing."""
        return self._call(context, "GET", f"volumes/{volume_id}/encryption")

    def roll_detaching(self, context: RequestContext, volume_id: str) -> None:
        """A volume that was being detached stays attached."""
        self._act(context, f"volumes/{volume_id}", "os-roll_detaching")

    def migrate_volume_completion(
        self, context: RequestContext, old_volume_id: str, new_volume_id: str, error: bool = False
    ) -> str:
        """The guest has moved to the other volume, or (``error``) has not.

        :returns: id of the volume that stays
        """
        answer = self._act(
            context,
            f"volumes/{old_volume_id}",
            "os-migrate_volume_completion",
            {"new_volume": new_volume_id, "error": error},
        )
        return str(answer["save_volume_id"])

    def reimage_volume(
        self, context: RequestContext, volume_id: str, image_id: str, reimage_reserved: bool = False
    ) -> None:
        """Begin to write an image into a volume.

        :param reimage_reserved: also into one that is reserved for a server
        """
        self._act(
            context,
            f"volumes/{volume_id}",
            "os-reimage",
            {"image_id": image_id, "reimage_reserved": reimage_reserved},
            REIMAGE,
        )

    # --- snapshots --------------------------------------------------------------------------
    def snapshot(self, context: RequestContext, snapshot_id: str) -> dict[str, Any]:
        """A snapshot: status, size (GiB), volume_id ...

        :raises SnapshotNotFound: it is gone, or the user may not see it
        """
        answer = self._call(context, "GET", f"snapshots/{snapshot_id}")
        snapshot: dict[str, Any] = answer["snapshot"]
        return snapshot

    def update_snapshot_status(
        self, context: RequestContext, snapshot_id: str, status: str
    ) -> None:
        """Tell how this host's part of a snapshot ended: creating, deleting, error ..."""
        # Cinder does the rest; 90 % is what it expects of a host.
        self._act(
            context,
            f"snapshots/{snapshot_id}",
            "os-update_snapshot_status",
            {"status": status, "progress": "90%"},
        )

    # --- attachments ------------------------------------------------------------------------
    def create_attachment(
        self,
        context: RequestContext,
        volume_id: str,
        server_uuid: str,
        connector: Mapping[str, Any] | None = None,
        mountpoint: str | None = None,
    ) -> dict[str, Any]:
        """Reserve a volume for a server, and connect it when ``connector`` is there.

        Never repeated by itself: look at :meth:`attachments` after VolumeServiceUnavailable.

        :param connector: the host's properties
        :param mountpoint: the device name to show to users
        :raises VolumeRequestInvalid: its state forbids it
        """
        wanted = {
            "volume_uuid": volume_id,
            "instance_uuid": server_uuid,
            "connector": _at(connector, mountpoint) if connector else None,
        }
        answer = self._call(
            context, "POST", "attachments", ATTACHMENTS, json={"attachment": wanted}, **ONCE
        )
        attachment: dict[str, Any] = answer["attachment"]
        return attachment

    def attachment(self, context: RequestContext, attachment_id: str) -> dict[str, Any]:
        """An attachment: status, volume_id, instance, connection_info (flat; may hold secrets).

        :raises VolumeAttachmentNotFound: it is gone, or the user may not see it
        """
        answer = self._call(context, "GET", f"attachments/{attachment_id}", ATTACHMENTS)
        attachment: dict[str, Any] = answer["attachment"]
        return attachment

    def attachments(
        self, context: RequestContext, *, server_uuid: str, volume_id: str
    ) -> list[dict[str, Any]]:
        """A server's attachments of a volume, without their connections."""
        query = {"instance_id": server_uuid, "volume_id": volume_id}
        if context.is_admin and context.auth_token:
            query["all_tenants"] = "1"  # the server may be another project's; of others it is a 400
        answer = self._call(context, "GET", "attachments", ATTACHMENTS, params=query)
        found: list[dict[str, Any]] = answer["attachments"]
        return found

    def update_attachment(
        self,
        context: RequestContext,
        attachment_id: str,
        connector: Mapping[str, Any],
        mountpoint: str | None = None,
    ) -> dict[str, Any]:
        """Tell Cinder which host connects, and get how; safe to repeat.

        :returns: the attachment, see :meth:`attachment`
        :raises InvalidVolume: somebody else has connected the volume meanwhile
        """
        wanted = {"attachment": {"connector": _at(connector, mountpoint)}}
        answer = self._call(
            context, "PUT", f"attachments/{attachment_id}", ATTACHMENTS, json=wanted, **PATIENTLY
        )
        attachment: dict[str, Any] = answer["attachment"]
        return attachment

    def complete_attachment(self, context: RequestContext, attachment_id: str) -> None:
        """The guest has the volume: it is in use."""
        self._act(context, f"attachments/{attachment_id}", "os-complete", {}, ATTACHMENTS)

    def delete_attachment(self, context: RequestContext, attachment_id: str) -> None:
        """Let go of a volume; an attachment that is gone is success."""
        try:
            path = f"attachments/{attachment_id}"
            self._call(context, "DELETE", path, ATTACHMENTS, **PATIENTLY)
        except errors.VolumeAttachmentNotFound:
            LOG.info("Attachment %s is gone already", attachment_id)

    # --- the wire ---------------------------------------------------------------------------
    def _act(
        self,
        context: RequestContext,
        path: str,
        action: str,
        arguments: Mapping[str, Any] | None = None,
        microversion: str | None = None,
    ) -> dict[str, Any]:
        body = {action: arguments}
        return self._call(context, "POST", f"{path}/action", microversion, json=body)

    def _call(
        self,
        context: RequestContext,
        method: str,
        path: str,
        microversion: str | None = None,
        fall_back: bool = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        headers = {"OpenStack-API-Version": f"volume {microversion or '3.0'}"}
        with answering("Cinder", f"{method} {path}", errors.VolumeServiceUnavailable):
            adapter = self._adapter(context, fall_back)
            url = f"{self._endpoint(adapter, context)}/{path}"
            answer = adapter.request(url, method, raise_exc=False, headers=headers, **kwargs)
        LOG.debug("%s %s: HTTP %s", method, path, answer.status_code)
        if token_expired(adapter, answer):
            raise errors.RequestTokenExpired("Cinder")
        if answer.status_code >= 400:
            raise _refusal(answer, method, path)
        return answer.json() if answer.content else {}

    def _adapter(self, context: RequestContext, fall_back: bool) -> Any:
        service_type, name, interface = self._options.catalog_info.split(":")
        adapter = self._sessions.user(GROUP, service_type, context, fall_back=fall_back)
        adapter.service_type, adapter.interface = service_type, interface
        adapter.service_name = name or None
        if self._options.os_region_name:
            adapter.region_name = self._options.os_region_name
        return adapter

    def _endpoint(self, adapter: Any, context: RequestContext) -> str:
        """The address up to the version.

        Catalogs name a project behind it, the user's or the agent's; without one the address is
        right for both, also when a user's token gives way to ours.
        """
        template = self._options.endpoint_template
        if template:
            try:
                address = template % context.fields
            except (KeyError, ValueError, TypeError) as exc:
                raise errors.InvalidConfiguration(
                    f"[{GROUP}]endpoint_template {template!r} names something that requests do "
                    "not have"
                ) from exc
        else:
            address = adapter.get_endpoint(skip_discovery=True)
        if not address:
            raise errors.InvalidConfiguration(
                f"the service catalog has no {self._options.catalog_info}: check "
                f"[{GROUP}]catalog_info and os_region_name"
            )
        return f"{address.rstrip('/').partition('/v3')[0]}/v3"


def _at(connector: Mapping[str, Any], mountpoint: str | None) -> dict[str, Any]:
    return {**connector, **({"mountpoint": mountpoint} if mountpoint else {})}


def _refusal(answer: Any, method: str, path: str) -> errors.NovaLiteError:
    """The error that an HTTP error of Cinder means."""
    status = answer.status_code
    text = f"Cinder refuses {method} {path}: {reason(answer)} (HTTP {status})"
    if status == 401:
        return errors.CredentialsInvalid(f"{text}: check the credentials of [{GROUP}]")
    if status in (408, 429, 502, 503):
        return errors.VolumeServiceUnavailable(text)
    if status == 404:
        resource, _, name = path.partition("/")
        return _NOT_FOUND[resource if name else "volumes"](text)
    if status >= 500:
        return errors.VolumeServiceError(text)
    return _REFUSED.get(status, errors.VolumeRequestInvalid)(text)
