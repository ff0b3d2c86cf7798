"""Volumes of the cloud's Cinder, and servers that have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import wait_for

SECONDS = 60


class Volumes:
    """What tests ask of Cinder, and of Nova about volumes; ``later`` is given what undoes it."""

    def __init__(self, api: Api, later: Callable[[Callable[[], Any]], None]) -> None:
        self._api = api
        self._later = later

    def request(self, method: str, path: str, body: Any = None, version: str = "3.59") -> Any:
        """A call of the block storage API, decoded."""
        service = self._api.connection.block_storage
        return self._api.rest(service, method, path, body, microversion=version)

    def create(self, kind: str, **more: Any) -> str:
        """The id of a new volume of 1 GiB that can be attached."""
        volume = {"name": f"{NAME_PREFIX}-{kind}", "volume_type": kind, "size": 1, **more}
        volume_id = str(self.request("POST", "/volumes", {"volume": volume})["volume"]["id"])
        self._later(lambda: self._delete(volume_id))
        self.wait(volume_id, "available")
        return volume_id

    def get(self, volume_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/volumes/{volume_id}")["volume"]
        return found

    def wait(self, volume_id: str, status: str, attachments: int | None = None) -> None:
        """Until the volume has that status (and as many attachments)."""

        def look() -> bool:
            volume = self.get(volume_id)
            if volume["status"].startswith("error"):
                raise AssertionError(f"volume {volume_id} is in {volume['status']}")
            enough = attachments is None or len(volume["attachments"]) == attachments
            return volume["status"] == status and enough

        wait_for(f"volume {volume_id} {status}", look, SECONDS)

    def attach(self, server_id: str, volume_id: str, **more: Any) -> str:
        """Have the server use the volume; returns its device (/dev/vdb)."""
        body = {"volumeAttachment": {"volumeId": volume_id, **more}}
        path = f"/servers/{server_id}/os-volume_attachments"
        device = self._api.call("POST", path, body)["volumeAttachment"]["device"]
        self._later(lambda: self.detach(server_id, volume_id))
        wait_for(f"{volume_id} in use", lambda: server_id in self.users(volume_id), SECONDS)
        return str(device)

    def detach(self, server_id: str, volume_id: str) -> None:
        """Take the volume from the server, if it has it, and wait until it is gone."""
        path = f"/servers/{server_id}/os-volume_attachments/{volume_id}"
        if self._api.call("DELETE", path, ok=False).status_code == 202:
            wait_for(
                f"{volume_id} free of {server_id}",
                lambda: self._api.call("GET", path, ok=False).status_code == 404,
                SECONDS,
            )

    def users(self, volume_id: str) -> list[str]:
        """The servers that use the volume, as Cinder says."""
        return [attachment["server_id"] for attachment in self.get(volume_id)["attachments"]]

    def _delete(self, volume_id: str) -> None:
        self.request("DELETE", f"/volumes/{volume_id}")
        service = self._api.connection.block_storage
        wait_for(
            f"end of volume {volume_id}",
            lambda: service.request(f"/volumes/{volume_id}", "GET",
                                    raise_exc=False).status_code == 404,
            SECONDS,
        )  # fmt: skip


def mapping_texts(api: Api, server_id: str) -> list[dict[str, Any]]:
    """What Nova keeps of how the server's volumes are reached."""
    rows = api.cloud.sql(
        "select connection_info from block_device_mapping where deleted = 0 and "
        f"destination_type = 'volume' and instance_uuid = '{server_id}'"
    )
    return [json.loads(row.replace("\\\\", "\\")) for row in rows.splitlines()]
