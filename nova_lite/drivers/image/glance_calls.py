"""What every call to Glance has in common: where it goes, how often it is tried, what answers mean.

See https://docs.openstack.org/api-ref/image/v2/ for the meaning of the answers.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import quote

from nova_lite.errors import (
    ImageNotAuthorized,
    ImageNotFound,
    ImageUnavailable,
    NovaLiteError,
)

LOG = logging.getLogger(__name__)

_RETRY_DELAY_S = 1.0
_REFUSED = {401: ImageNotAuthorized, 403: ImageNotAuthorized}
_GONE = (404, 410)


class UserSessions(Protocol):
    """The one thing needed of ``clients.session.Sessions``."""

    def user(self, group: str, service_type: str, context: Any) -> Any: ...


class Lost(Exception):
    """A server could not be reached, broke off, or answered 5xx: try the next one."""


class Glance:
    """The image service, found through the service catalog or [glance]api_servers."""

    def __init__(
        self, conf: Any, sessions: UserSessions, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """
        :param conf: values of [glance]: ``api_servers``, ``num_retries``
        :param sessions: gives an adapter that speaks with the user's credentials
        :param sleep: waits between attempts
        """
        self._conf = conf
        self._sessions = sessions
        self._sleep = sleep

    def url(self, context: object, image_id: str) -> str:
        """The address of an image, as notifications tell it; its id when there is none."""
        from keystoneauth1 import exceptions

        try:
            server = next(iter(self._conf.api_servers or ()), None)
            server = server or self._adapter(context).get_endpoint()
        except (NovaLiteError, exceptions.ClientException):
            server = None
        return f"{server.rstrip('/').removesuffix('/v2')}/images/{image_id}" if server else image_id

    def _adapter(self, context: object) -> Any:
        return self._sessions.user("glance", "image", context)

    def _record(self, context: object, image_id: str) -> dict[str, Any]:
        """All that Glance tells of one image."""
        return self._json(context, image_id, image_path(image_id))

    def _json(self, context: object, image_id: str, path: str) -> dict[str, Any]:
        adapter = self._adapter(context)
        for server in self._attempts(adapter, image_id):
            with server as url:
                response = request(adapter, "GET", url, path)
                check(response, image_id)
                try:
                    answer: dict[str, Any] = response.json()
                    return answer
                except ValueError:
                    raise Lost("the answer is not JSON") from None
        raise AssertionError("the last attempt raises")

    def _attempts(self, adapter: Any, image_id: str) -> Iterator[_Attempt]:
        """1 + [glance]num_retries attempts, each at the next of the configured servers."""
        servers = list(self._conf.api_servers or ())
        random.shuffle(servers)  # spreads the load of many hosts
        urls = itertools.cycle(servers or [_endpoint(adapter)])
        last = self._conf.num_retries
        for number in range(last + 1):
            attempt = _Attempt(next(urls), image_id, final=number == last)
            yield attempt
            self._sleep(_RETRY_DELAY_S)


class _Attempt:
    """One try at one server: swallows a lost connection, unless it was the last try."""

    def __init__(self, url: str, image_id: str, *, final: bool) -> None:
        self._url = url.rstrip("/").removesuffix("/v2")
        self._image_id = image_id
        self._final = final

    def __enter__(self) -> str:
        return self._url

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, Lost):
            return False
        LOG.warning("Image service at %s, image %s: %s", self._url, self._image_id, exc)
        if self._final:
            raise ImageUnavailable(
                f"The image service at {self._url} fails for image {self._image_id}: {exc}"
            ) from exc
        return True


def image_path(image_id: str, part: str = "") -> str:
    """Path of an image's record, or of a part of it such as ``file``."""
    return f"/v2/images/{quote(image_id, safe='')}" + (f"/{part}" if part else "")


def request(
    adapter: Any,
    method: str,
    url: str,
    path: str,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    """One request to one server; raises Lost when there is no answer."""
    from keystoneauth1 import exceptions

    try:
        return adapter.request(
            path,
            method,
            endpoint_override=url,
            headers=headers or {},
            raise_exc=False,
            connect_retries=0,  # repeated here, at the next server
            status_code_retries=0,
            **options,
        )
    except exceptions.ConnectionError as exc:
        raise Lost(str(exc)) from exc


def check(response: Any, image_id: str) -> None:
    """Turn an error status into an exception."""
    status = response.status_code
    if status < 300:
        return
    if status in _GONE:
        raise ImageNotFound(f"Image {image_id} could not be found")
    if status in _REFUSED:
        raise _REFUSED[status](
            f"The image service refuses image {image_id} to this user (HTTP {status}): check its "
            "visibility, and that it is not deactivated"
        )
    raise Lost(f"it answered HTTP {status}")


def _endpoint(adapter: Any) -> str:
    url = adapter.get_endpoint()
    if not url:
        raise ImageUnavailable(
            "The service catalog has no image service for this region and interface: "
            "check region_name and valid_interfaces in [glance]"
        )
    return str(url)
