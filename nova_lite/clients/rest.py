"""What the clients of OpenStack's REST services do alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nova_lite.errors import CredentialsInvalid, NovaLiteError


@contextmanager
def answering(
    service: str,
    call: str,
    away: type[NovaLiteError],
    *,
    group: str | None = None,
    misconfigured: type[NovaLiteError] | None = None,
) -> Iterator[None]:
    """Turn keystoneauth's exceptions of one call into errors of the table.

    :param service: its name, for people
    :param call: method and path, for people
    :param away: raised where the service cannot be asked
    :param group: of nova.conf, for a service that this host asks on its own account
    :param misconfigured: raised with ``group`` where the service catalog has no endpoint
    :raises CredentialsInvalid: with ``group``, where Keystone refuses
    """
    from keystoneauth1 import exceptions

    try:
        yield
    except (exceptions.ConnectionError, exceptions.RetriableConnectionFailure) as exc:
        raise away(f"{service} does not answer to {call}") from exc
    except exceptions.EndpointNotFound as exc:
        if group is None or misconfigured is None:
            raise away(f"{service} cannot be called: {exc}") from exc
        raise misconfigured(
            f"the service catalog has no endpoint for {service}: check region_name and "
            f"valid_interfaces of [{group}], or set endpoint_override ({exc})"
        ) from exc
    except (exceptions.Unauthorized, exceptions.AuthorizationFailure) as exc:
        if group is None:
            raise away(f"{service} cannot be called: {exc}") from exc
        raise CredentialsInvalid(
            f"Keystone refuses the credentials of [{group}]: check username and password ({exc})"
        ) from exc
    except exceptions.ClientException as exc:
        raise away(f"{service} cannot be called: {exc}") from exc


def token_expired(adapter: Any, answer: Any) -> bool:
    """Whether a service refuses the token of a request, and no other may take its place."""
    return answer.status_code == 401 and not getattr(adapter.auth, "fall_back", True)


def reason(answer: Any) -> str:
    """Why a service refuses, in its own words: ``{KIND: {"message": ...}}``."""
    try:
        (body,) = answer.json().values()
        return str(body["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return str(answer.reason)  # not the service's own form: a proxy's page
