"""What the clients of OpenStack's REST services do alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nova_lite.errors import NovaLiteError


@contextmanager
def answering(service: str, call: str, away: type[NovaLiteError]) -> Iterator[None]:
    """Raise ``away`` where a service cannot be asked.

    :param service: its name, for people
    :param call: method and path, for people
    """
    from keystoneauth1 import exceptions

    try:
        yield
    except (exceptions.ConnectionError, exceptions.RetriableConnectionFailure) as exc:
        raise away(f"{service} does not answer to {call}") from exc
    except exceptions.ClientException as exc:
        raise away(f"{service} cannot be called: {exc}") from exc


def reason(answer: Any) -> str:
    """Why a service refuses, in its own words: ``{KIND: {"message": ...}}``."""
    try:
        (body,) = answer.json().values()
        return str(body["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return str(answer.reason)  # not the service's own form: a proxy's page
