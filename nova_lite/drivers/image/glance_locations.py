"""Images that Glance need not be sent: they lie in a storage that this host shares with it.

Two ways of telling it where exist: the locations API (2.17), which asks for a service token, and a
patch of the record, where [DEFAULT]show_multiple_locations is on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from nova_lite.drivers.image.base import ImageStore
from nova_lite.drivers.image.glance_calls import Glance, image_path, request
from nova_lite.drivers.image.glance_store import PATCH, check_taken, patch
from nova_lite.errors import ImageNotFound, ImageUnacceptable

_JSON = "application/json"
# Seconds until an image must be active whose address Glance has accepted, and between two looks.
_SETTLE_S, _LOOK_S = 60.0, 0.3


class GlanceLocations(Glance, ImageStore):
    """The part of the image service that knows stores and addresses."""

    def add_location(
        self,
        context: object,
        image_id: str,
        location: str,
        *,
        properties: Mapping[str, str],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        for server in self._attempts(self._adapter(context), image_id):
            with server as url:
                status = self._record(context, image_id).get("status")
                if status == "queued":
                    self._describe(context, url, image_id, properties)
                    self._tell(context, url, image_id, location)
                elif status != "active":
                    raise ImageUnacceptable(f"Image {image_id} is {status}: it takes no address")
                self._wait(context, image_id, go_on)
                return

    def _describe(
        self, context: object, url: str, image_id: str, properties: Mapping[str, str]
    ) -> None:
        record = {"disk_format": "raw", "container_format": "bare"}
        answer = request(
            self._adapter(context), "PATCH", url, image_path(image_id), {"Content-Type": PATCH},
            data=patch(record, properties),
        )  # fmt: skip
        check_taken(answer, image_id)

    def _tell(self, context: object, url: str, image_id: str, location: str) -> None:
        answer = request(
            self._adapter(context), "POST", url, image_path(image_id, "locations"),
            {"Content-Type": _JSON}, data=json.dumps({"url": location, "validation_data": {}}),
        )  # fmt: skip
        if answer.status_code in (403, 404, 405, 501):  # an older Glance, or no service token
            value = {"url": location, "metadata": {}}
            change = [{"op": "add", "path": "/locations/-", "value": value}]
            answer = request(
                self._adapter(context), "PATCH", url, image_path(image_id),
                {"Content-Type": PATCH}, data=json.dumps(change),
            )  # fmt: skip
        if answer.status_code == 409:
            raise ImageUnacceptable(f"Image {image_id} does not take the address of its bytes")
        check_taken(answer, image_id)

    def _wait(self, context: object, image_id: str, go_on: Callable[[], None]) -> None:
        deadline = time.monotonic() + _SETTLE_S
        while True:
            status = self._record(context, image_id).get("status")
            if status == "active":
                return
            if status not in ("queued", "importing", "saving"):
                raise ImageNotFound(f"Image {image_id} could not be found: it is {status}")
            if time.monotonic() > deadline:
                raise ImageUnacceptable(
                    f"Image {image_id} is still {status}: it did not take the address of its bytes"
                )
            go_on()
            self._sleep(_LOOK_S)

    def copy_to(
        self,
        context: object,
        image_id: str,
        store: str,
        *,
        poll_s: float,
        timeout_s: float,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        wish = {"method": {"name": "copy-image"}, "stores": [store],
                "all_stores_must_succeed": False}  # fmt: skip
        for server in self._attempts(self._adapter(context), image_id):
            with server as url:
                answer = request(
                    self._adapter(context), "POST", url, image_path(image_id, "import"),
                    {"Content-Type": _JSON}, data=json.dumps(wish),
                )  # fmt: skip
                # 400 and 409: another host was faster.
                if answer.status_code not in (400, 409):
                    check_taken(answer, image_id)
                break
        deadline = time.monotonic() + timeout_s
        while not _copied(self._record(context, image_id), image_id, store):
            if time.monotonic() > deadline:
                raise ImageUnacceptable(
                    f"Image {image_id} was not copied to store {store} within {timeout_s:g} s"
                )
            go_on()
            self._sleep(poll_s)


def _copied(record: Mapping[str, Any], image_id: str, store: str) -> bool:
    def listed(field: str) -> bool:
        return store in str(record.get(field) or "").split(",")

    if listed("os_glance_failed_import"):
        raise ImageUnacceptable(f"Image {image_id} could not be copied to store {store}")
    return listed("stores") and not listed("os_glance_importing_to_stores")
