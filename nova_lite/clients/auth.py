"""keystoneauth plugins: credentials whose failures name their group, and a request's own token."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from keystoneauth1 import exceptions, plugin
from keystoneauth1.access import service_catalog

from nova_lite import errors


class GuardedAuth(plugin.BaseAuthPlugin):
    """An auth plugin made from a config group; what goes wrong in it becomes one of our errors.

    :param auth: the keystoneauth plugin that does the work
    :param group: the config group it was made from, named in messages

    Every method may raise CredentialsInvalid (Keystone refuses) and ControlPlaneUnavailable
    (Keystone does not answer).
    """

    def __init__(self, auth: Any, group: str) -> None:
        super().__init__()
        self._auth = auth
        self._group = group

    def _guard(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except exceptions.EndpointNotFound as exc:
            raise errors.InvalidConfiguration(f"credentials of [{self._group}]: {exc}") from exc
        except (
            exceptions.ConnectionError,
            exceptions.HttpServerError,
            exceptions.RetriableConnectionFailure,
        ) as exc:
            raise errors.ControlPlaneUnavailable(
                f"Keystone does not answer to [{self._group}]: {exc}"
            ) from exc
        except exceptions.DiscoveryFailure as exc:
            raise errors.ControlPlaneUnavailable(
                f"Keystone is not found at auth_url of [{self._group}]: {exc}"
            ) from exc
        except (exceptions.HTTPClientError, exceptions.AuthorizationFailure) as exc:
            raise errors.CredentialsInvalid(
                f"Keystone refuses the credentials of [{self._group}]: check username, password "
                f"and project ({exc})"
            ) from exc
        except exceptions.ClientException as exc:
            raise errors.CredentialsInvalid(f"credentials of [{self._group}]: {exc}") from exc

    def get_token(self, session: Any) -> str | None:
        return self._guard(self._auth.get_token, session)

    def get_headers(self, session: Any) -> dict[str, str] | None:
        return self._guard(self._auth.get_headers, session)

    def get_endpoint(self, session: Any, **kwargs: Any) -> str | None:
        return self._guard(self._auth.get_endpoint, session, **kwargs)

    def get_endpoint_data(self, session: Any, **kwargs: Any) -> Any:
        return self._guard(self._auth.get_endpoint_data, session, **kwargs)

    def get_api_major_version(self, session: Any, **kwargs: Any) -> Any:
        return self._guard(self._auth.get_api_major_version, session, **kwargs)

    def get_connection_params(self, session: Any) -> Any:
        return self._guard(self._auth.get_connection_params, session)

    def get_user_id(self, session: Any) -> str | None:
        return self._guard(self._auth.get_user_id, session)

    def get_project_id(self, session: Any) -> str | None:
        return self._guard(self._auth.get_project_id, session)

    def invalidate(self) -> bool:
        return self._auth.invalidate()


class RequestAuth(plugin.BaseAuthPlugin):
    """The token of a received request, as long as it is accepted; then the agent's credentials.

    keystoneauth calls ``invalidate`` on a 401 and sends the request once more when it returns
    True: that is where the change happens.

    :param token: the user's token; None: the agent's credentials from the first call on
    :param catalog: the service catalog of the request (Nova's context carries the v2 form)
    :param own: the agent's credentials
    :param service_token: whose token is sent as X-Service-Token, which lets a service accept a user
        token that has expired meanwhile, and tells Cinder that it is asked by a service
    :param rejected: told the token that was not accepted
    :param fall_back: whether the agent's credentials take the place of a token that is not accepted
    """

    def __init__(
        self,
        token: str | None,
        catalog: Sequence[dict[str, Any]],
        own: GuardedAuth,
        *,
        service_token: GuardedAuth | None = None,
        rejected: Callable[[str], None] | None = None,
        fall_back: bool = True,
    ) -> None:
        super().__init__()
        self._token = token
        self._catalog = service_catalog.ServiceCatalogV2(list(catalog)) if catalog else None
        self._own = own
        self._service_token = service_token
        self._on_rejected = rejected
        self.fall_back = fall_back
        self._switch = threading.Lock()

    def get_token(self, session: Any) -> str | None:
        return self._token or self._own.get_token(session)

    def get_headers(self, session: Any) -> dict[str, str] | None:
        token = self._token
        headers = {"X-Auth-Token": token} if token else self._own.get_headers(session)
        if self._service_token is None or headers is None:
            return headers
        return {**headers, "X-Service-Token": self._service_token.get_token(session) or ""}

    def get_endpoint(self, session: Any, **kwargs: Any) -> str | None:
        if self._catalog is not None and kwargs.get("service_type"):
            found = self._catalog.get_urls(
                service_type=kwargs["service_type"],
                interface=kwargs.get("interface") or "public",
                region_name=kwargs.get("region_name"),
                service_name=kwargs.get("service_name"),
            )
            if found:
                return found[0]
        return self._own.get_endpoint(session, **kwargs)

    def get_endpoint_data(self, session: Any, **kwargs: Any) -> Any:
        return self._own.get_endpoint_data(session, **kwargs)

    def get_connection_params(self, session: Any) -> Any:
        return self._own.get_connection_params(session)

    def invalidate(self) -> bool:
        if not self.fall_back:
            # Once more with another service token, which may be the one that was not accepted.
            return self._service_token is not None and self._service_token.invalidate()
        with self._switch:
            token, self._token = self._token, None
            if self._service_token is not None:
                self._service_token.invalidate()  # it may be the one that was not accepted
            if token is None:
                return self._own.invalidate()
            if self._on_rejected is not None:
                self._on_rejected(token)
            return True
