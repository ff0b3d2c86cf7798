"""Measurements of volumes: attach and detach, boots from volumes, many volumes on one server."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

from tests.benchmark.firehose import Firehose, Message
from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for

MANY = 26  # volumes on one server: with its root disk more than letters from vda to vdz
SETTLE = 4.5  # seconds in which after-effects of a request still count
PATIENCE = 240  # seconds
POLL = 0.05
VERSION = "3.59"  # of the block storage API


class Report(Protocol):
    """Where the numbers go; as measure.Benchmark keeps them."""

    def value(self, name: str, value: float, **details: Any) -> None: ...

    def calls(self, verb: str, samples: list[list[Message]]) -> None: ...


class CinderLog:
    """Requests in cinder-api's log that were made on behalf of one request to Nova."""

    def __init__(self, cloud: DevCloud) -> None:
        self._path = cloud.state / "log" / "cinder-api.log"
        self._start = self._path.stat().st_size

    def calls(self, request_id: str) -> list[str]:
        """Methods and paths since this object was made; those of nova-api are among them."""
        with self._path.open("rb") as log:
            log.seek(self._start)
            text = log.read().decode(errors="replace")
        made = rf"wsgi \[{re.escape(request_id)} .*?\] ([A-Z]+) https?://[^/]+(/\S*)"
        return [f"{method} {path}" for method, path in re.findall(made, text)]


class VolumeMeasurements:
    """All of them on one host; what they make goes in the end."""

    def __init__(
        self, cloud: DevCloud, api: Api, node: str, firehose: Firehose, report: Report
    ) -> None:
        self._cloud, self._api, self._node = cloud, api, node
        self._firehose, self._report = firehose, report
        self._servers: list[str] = []
        self._volumes: list[str] = []
        self._image: str | None = None

    def run(self, attachments: int, samples: int) -> None:
        """
        :param attachments: how often a volume is attached and detached for the latencies
        :param samples: how many more, and how many boots, are counted call by call
        """
        try:
            server = self._boot()
            self._api.wait_console(server, "TINY: ready", PATIENCE)
            (volume,) = self._create(1)
            self._latencies(server, volume, attachments)
            self._count_calls(server, volume, samples)
            self._boots(samples)
            self._many()
        finally:
            self._clean()

    # --- attach and detach ---------------------------------------------------------------------
    def _latencies(self, server: str, volume: str, times: int) -> None:
        attach, detach = [], []
        for _ in range(times):
            attach.append(_seconds(lambda: self._attach(server, volume)))
            detach.append(_seconds(lambda: self._detach(server, volume)))
        self._report.value("attach p50: seconds", statistics.median(attach), all=attach)
        self._report.value("detach p50: seconds", statistics.median(detach), all=detach)

    def _count_calls(self, server: str, volume: str, times: int) -> None:
        for verb, calls in self._recorded(server, volume, times).items():
            self._report.calls(verb, [conductor for conductor, _ in calls])
            cinder = sorted((found for _, found in calls), key=len)[(times - 1) // 2]
            self._report.value(f"Cinder calls per {verb}", len(cinder), calls=cinder)

    def _recorded(
        self, server: str, volume: str, times: int
    ) -> dict[str, list[tuple[list[Message], list[str]]]]:
        """Calls of the conductor and of Cinder, by verb and time."""
        found: dict[str, list[tuple[list[Message], list[str]]]] = {"attach": [], "detach": []}
        for _ in range(times):
            for verb, change in (("attach", self._attach), ("detach", self._detach)):
                log = CinderLog(self._cloud)
                with self._firehose.recording() as recording:
                    request_id = change(server, volume)
                    time.sleep(SETTLE)
                found[verb].append((recording.conductor_calls(), log.calls(request_id)))
        return found

    def _attach(self, server: str, volume: str) -> str:
        """From the call until Cinder has the volume in use; the id of the request."""
        response = self._api.call(
            "POST", f"/servers/{server}/os-volume_attachments",
            {"volumeAttachment": {"volumeId": volume}}, ok=False,
        )  # fmt: skip
        return self._over(response, volume, "in-use")

    def _detach(self, server: str, volume: str) -> str:
        path = f"/servers/{server}/os-volume_attachments/{volume}"
        return self._over(self._api.call("DELETE", path, ok=False), volume, "available")

    def _over(self, response: Any, volume: str, status: str) -> str:
        if not response.ok:
            raise RuntimeError(f"volume {volume}: HTTP {response.status_code}: {response.text}")
        self._wait(volume, status)
        return str(response.headers["x-openstack-request-id"])

    # --- boots ---------------------------------------------------------------------------------
    def _boots(self, times: int) -> None:
        """From a volume that is there, and from one that is made of the image meanwhile."""
        image = self._api.image_id("tiny-fast")
        existing, made = [], []
        for _ in range(times):
            (volume,) = self._create(1, imageRef=image)
            for source, uuid, found in (("volume", volume, existing), ("image", image, made)):
                disk = {"boot_index": 0, "uuid": uuid, "source_type": source, "volume_size": 1,
                        "destination_type": "volume", "delete_on_termination": True}  # fmt: skip
                began = time.monotonic()
                server = self._boot(imageRef="", block_device_mapping_v2=[disk])
                found.append(time.monotonic() - began)
                self._delete(server)
            self._volumes.remove(volume)
        self._report.value("boot from volume p50: seconds", statistics.median(existing),
                           all=existing)  # fmt: skip
        self._report.value("boot from image to volume p50: seconds", statistics.median(made),
                           all=made)  # fmt: skip

    def _boot(self, **more: Any) -> str:
        server = str(self._api.request_boot(self._node, **more)["id"])
        self._servers.append(server)

        def active() -> bool:
            found = self._api.server(server)
            if found["status"] == "ERROR":
                raise RuntimeError(f"boot of {server} failed: {found.get('fault')}")
            return bool(found["status"] == "ACTIVE")

        wait_for("ACTIVE", active, PATIENCE, pause=POLL)
        return server

    # --- many ----------------------------------------------------------------------------------
    def _many(self) -> None:
        """One after the other; how many of them the server then has. On virtio-scsi: no board has
        PCI slots for so many disks, whichever agent drives it."""
        self._image = self._api.upload_image(
            self._cloud.state / "images" / "tiny-fast.qcow2", "qcow2",
            hw_disk_bus="scsi", hw_scsi_model="virtio-scsi",
        )  # fmt: skip
        server = self._boot(imageRef=self._image)
        self._api.wait_console(server, "TINY: ready", PATIENCE)
        volumes = self._create(MANY - len(self._attached(server)))
        began = time.monotonic()
        for volume in volumes:
            self._attach(server, volume)
        spent = time.monotonic() - began
        self._report.value(f"{MANY} volumes on one server: seconds", spent)
        self._report.value(f"{MANY} volumes on one server: there", len(self._attached(server)))

    def _attached(self, server: str) -> list[str]:
        path = f"/servers/{server}/os-volume_attachments"
        found = self._api.call("GET", path)["volumeAttachments"]
        return [attachment["volumeId"] for attachment in found]

    # --- volumes -------------------------------------------------------------------------------
    def _request(self, method: str, path: str, body: Any = None) -> Any:
        service = self._api.connection.block_storage
        return self._api.rest(service, method, path, body, microversion=VERSION)

    def _create(self, count: int, **more: Any) -> list[str]:
        body = {"volume": {"name": f"{NAME_PREFIX}-benchmark", "size": 1, **more}}
        made = [self._request("POST", "/volumes", body)["volume"]["id"] for _ in range(count)]
        self._volumes += made
        for volume in made:
            self._wait(volume, "available")
        return made

    def _wait(self, volume: str, status: str) -> None:
        def look() -> bool:
            found = self._request("GET", f"/volumes/{volume}")["volume"]["status"]
            if found.startswith("error"):
                raise RuntimeError(f"volume {volume} is in {found}")
            return bool(found == status)

        wait_for(f"volume {volume} {status}", look, PATIENCE, pause=POLL)

    # --- the end -------------------------------------------------------------------------------
    def _delete(self, server: str) -> None:
        self._api.delete(server)
        self._api.wait_gone(server, PATIENCE)
        self._servers.remove(server)

    def _clean(self) -> None:
        for server in list(self._servers):
            self._delete(server)
        for volume in self._volumes:
            self._api.connection.block_storage.request(
                f"/volumes/{volume}", "DELETE", raise_exc=False
            )
        if self._image:
            self._api.delete_image(self._image)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
