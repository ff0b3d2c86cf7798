"""Volumes of the cloud's Cinder, and servers that have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for

SECONDS = 600
PATIENCE = 180  # for what goes on in the host


def disk(source: str, **more: Any) -> dict[str, Any]:
    """An entry of block_device_mapping_v2."""
    return {"source_type": source, "destination_type": "volume", "boot_index": -1, **more}


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

    def status(self, volume_id: str) -> str | None:
        """Cinder's word for it; None: the volume is gone."""
        service = self._api.connection.block_storage
        answer = service.request(f"/volumes/{volume_id}", "GET", raise_exc=False)
        return None if answer.status_code == 404 else str(answer.json()["volume"]["status"])

    def _delete(self, volume_id: str) -> None:
        if self.status(volume_id) not in (None, "deleting"):  # by the test itself
            self.request("DELETE", f"/volumes/{volume_id}")
        wait_for(f"end of volume {volume_id}", lambda: self.status(volume_id) is None, SECONDS)


class Snapshots:
    """Snapshots of one volume, which may be in use."""

    def __init__(self, volumes: Volumes, volume_id: str) -> None:
        self._volumes, self._volume_id = volumes, volume_id

    def states(self) -> dict[str, str]:
        """The status of each."""
        path = f"/snapshots/detail?volume_id={self._volume_id}"
        listed = self._volumes.request("GET", path)["snapshots"]
        return {snapshot["id"]: snapshot["status"] for snapshot in listed}

    def take(self) -> str:
        """The id of a new one."""
        body = {"volume_id": self._volume_id, "force": True, "name": NAME_PREFIX}
        made = self._volumes.request("POST", "/snapshots", {"snapshot": body})["snapshot"]["id"]
        wait_for("the snapshot", lambda: self.states()[made] != "creating", PATIENCE)
        if (status := self.states()[made]) != "available":
            raise AssertionError(f"snapshot {made} is in {status}")
        return str(made)

    def request_delete(self, snapshot: str) -> None:
        self._volumes.request("DELETE", f"/snapshots/{snapshot}")

    def wait_gone(self, snapshot: str) -> None:
        wait_for(f"end of snapshot {snapshot}", lambda: self._gone(snapshot), PATIENCE)

    def delete(self, snapshot: str) -> None:
        self.request_delete(snapshot)
        self.wait_gone(snapshot)

    def delete_all(self) -> None:
        for snapshot in self.states():
            self.delete(snapshot)

    def _gone(self, snapshot: str) -> bool:
        status = self.states().get(snapshot)
        if status == "error_deleting":
            raise AssertionError(f"snapshot {snapshot} is in {status}")
        return status is None


def mapping_texts(api: Api, server_id: str) -> list[dict[str, Any]]:
    """What Nova keeps of how the server's volumes are reached."""
    rows = api.cloud.sql(
        "select connection_info from block_device_mapping where deleted = 0 and "
        f"destination_type = 'volume' and instance_uuid = '{server_id}'"
    )
    return [json.loads(row.replace("\\\\", "\\")) for row in rows.splitlines()]


def checksum_in_ceph(cloud: DevCloud, volume_id: str) -> str:
    """Of a volume's first MiB, as Ceph has it; the volume is in the pool of the default type."""
    image = f"volumes/volume-{volume_id}"
    read = f"rbd export --no-progress {image} - | head -c 1048576 | md5sum"
    return cloud.run("run", "sh", "-c", read).split()[0]
