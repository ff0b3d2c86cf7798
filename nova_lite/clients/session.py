"""Keystone sessions: how the agent, or the user it works for, speaks to an OpenStack service.

Every group of nova.conf that names a service ([neutron], [placement], [glance] ...) may hold
keystoneauth's options. Nothing is read or contacted before the first use of a group.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from typing import Any

from oslo_config import cfg

from nova_lite import errors
from nova_lite.clients.auth import GuardedAuth, RequestAuth
from nova_lite.conf import keystone

LOG = logging.getLogger(__name__)

# Groups whose credentials serve a group that has none of its own, in this order.
FALLBACKS = ("service_user", "placement", "neutron")
DEPLOYMENT = "service_user"  # whose user is the compute service's own
TIMEOUT_S = 60.0  # no call waits for ever, also where nova.conf sets no timeout
RETRIES = 2  # of connections and of 503, where the group has no setting for it
RETRY_DELAY_S = 1.0
CONNECTIONS = 10  # kept per service and session, as requests does by itself


class Sessions:
    """Adapters to the services, with cached credentials; safe to share between threads.

    :param conf: the options as read from nova.conf
    :param connections: how many to keep per service: as many as are used at once, or each further
        one is made for a single call
    """

    def __init__(self, conf: cfg.ConfigOpts, connections: int = CONNECTIONS) -> None:
        self._conf = conf
        self._connections = connections
        self._lock = threading.RLock()
        self._auth: dict[str, GuardedAuth] = {}
        self._sessions: dict[str, Any] = {}
        self._registered: set[str] = set()
        self._rejected: deque[bytes] = deque(maxlen=64)

    def service(self, group: str, service_type: str, context: Any = None) -> Any:
        """A keystoneauth1 Adapter that speaks with the agent's own credentials.

        :param group: the group of nova.conf; without credentials of its own those of FALLBACKS
            are used
        :param service_type: as in the service catalog ("network"), unless the group sets one
        :param context: the request it is done for, if any (its request id goes along)
        :raises CredentialsInvalid: no usable credentials are configured. At the first call: also
            when Keystone refuses them
        """
        return self._adapter(group, service_type, self._auth_of(group), context)

    def user(
        self, group: str, service_type: str, context: Any, *, fall_back: bool = True
    ) -> Any:
        """An Adapter that speaks with the token of the received request.

        With ``[service_user] send_service_user_token`` a service token goes along. When the request
        has no token, or the service answers 401 to it (expired while the server was built), the
        agent's own credentials go on. The endpoint comes from the request's catalog, else from the
        agent's.

        :param fall_back: False for a call that makes something which belongs to the user: the
            agent's rights are not the user's, and its project is not the user's project
        :raises RequestTokenExpired: with ``fall_back`` False, where the request has no token
        """
        own = self._auth_of(group)
        token = context.auth_token if context is not None else None
        if not fall_back and not token:
            raise errors.RequestTokenExpired(f"the {service_type} service")
        if fall_back and token and _digest(token) in self._rejected:
            token = None
        auth = RequestAuth(
            token or None,
            list(context.service_catalog or ()) if token else [],
            own,
            service_token=self._service_token_auth(),
            rejected=self._reject,
            fall_back=fall_back,
        )
        return self._adapter(group, service_type, auth, context)

    def deployment(self) -> Any:
        """The credentials of [service_user], which what belongs to the compute service is kept
        with: as in stock those of no other group take their place.

        :raises CredentialsInvalid: the group has none. At the first use: also when Keystone refuses
        """
        values = self._register(DEPLOYMENT)
        if not (values.auth_section or values.auth_type):
            raise errors.CredentialsInvalid(
                f"[{DEPLOYMENT}] has no credentials, and no others may take their place: set "
                "auth_type, auth_url, username and password there, the same ones on all hosts"
            )
        return self._auth_of(DEPLOYMENT)

    def warm_up(self, group: str) -> None:
        """Fetch the tokens that the first call with this group's credentials needs.

        :raises CredentialsInvalid: Keystone refuses, or there are none
        :raises ControlPlaneUnavailable: Keystone does not answer
        """
        for auth in (self._auth_of(group), self._service_token_auth()):
            if auth is not None:
                auth.get_token(self._session(group))

    def outside(self, group: str) -> tuple[Any, bool]:
        """A Session for services that are none of OpenStack, and whether it has credentials.

        They are those of the group alone: no others may get there.

        :raises CredentialsInvalid: those of the group cannot be used
        """
        from keystoneauth1 import loading

        values = self._register(group)
        known = bool(values.auth_section or values.auth_type)
        auth = self._auth_of(group) if known else None
        with self._lock:
            if group not in self._sessions:
                timeout = values.timeout or TIMEOUT_S
                self._sessions[group] = loading.load_session_from_conf_options(
                    self._conf, group, auth=auth, timeout=timeout
                )
            return self._sessions[group], known

    def reset(self) -> None:
        """Forget cached credentials and connections; the options are read anew at the next use."""
        with self._lock:
            self._auth.clear()
            self._sessions.clear()

    def _reject(self, token: str) -> None:
        LOG.info("The token of a request is no longer accepted: going on with own credentials")
        self._rejected.append(_digest(token))

    def _register(self, group: str) -> Any:
        """Register keystoneauth's options in the group, return its values."""
        with self._lock:
            if group not in self._registered:
                keystone.register(self._conf, group)
                self._registered.add(group)
            return self._conf[group]

    def _auth_of(self, group: str) -> GuardedAuth:
        source = self._credentials_group(group)
        with self._lock:
            if source not in self._auth:
                self._auth[source] = GuardedAuth(self._load_auth(source), source)
            return self._auth[source]

    def _credentials_group(self, group: str) -> str:
        candidates = dict.fromkeys((group, *FALLBACKS))
        for candidate in candidates:
            values = self._register(candidate)
            if values.auth_section or values.auth_type:
                return candidate
        raise errors.CredentialsInvalid(
            f"no credentials for [{group}]: set auth_type, auth_url, username and password in "
            f"[{group}] or in one of {', '.join(f'[{name}]' for name in FALLBACKS)}"
        )

    def _load_auth(self, group: str) -> Any:
        from keystoneauth1 import exceptions, loading

        try:
            # Registers auth_type in the group that auth_section points to, when it is set.
            loading.register_auth_conf_options(self._conf, group)
            auth = loading.load_auth_from_conf_options(self._conf, group)
        except (exceptions.OptionError, exceptions.NoMatchingPlugin, cfg.Error) as exc:
            raise errors.CredentialsInvalid(f"credentials of [{group}]: {exc}") from exc
        if auth is None:
            raise errors.CredentialsInvalid(f"credentials of [{group}]: auth_type is not set")
        return auth

    def _service_token_auth(self) -> GuardedAuth | None:
        values = self._register("service_user")
        if not getattr(values, "send_service_user_token", False):
            return None
        return self._auth_of("service_user")

    def _session(self, group: str) -> Any:
        from keystoneauth1 import loading
        from keystoneauth1.session import TCPKeepAliveAdapter

        with self._lock:
            if group not in self._sessions:
                values = self._register(group)
                options = {"cacert": values.cafile, "timeout": values.timeout or TIMEOUT_S}
                if not values.cafile:
                    # Keystone is reached through this session too: its CA is enough to know.
                    options["cacert"] = self._register(self._credentials_group(group)).cafile
                made = loading.load_session_from_conf_options(self._conf, group, **options)
                adapter = TCPKeepAliveAdapter(pool_maxsize=self._connections)
                for scheme in list(made.session.adapters):
                    made.session.mount(scheme, adapter)
                self._sessions[group] = made
            return self._sessions[group]

    def _adapter(self, group: str, service_type: str, auth: Any, context: Any) -> Any:
        from keystoneauth1 import loading

        values = self._register(group)
        options: dict[str, Any] = {"session": self._session(group), "auth": auth}
        if not values.service_type:
            options["service_type"] = service_type
        retries = getattr(values, "http_retries", getattr(values, "num_retries", RETRIES))
        for name, default in (
            ("connect_retries", retries),
            ("status_code_retries", retries),
            ("connect_retry_delay", RETRY_DELAY_S),
            ("status_code_retry_delay", RETRY_DELAY_S),
        ):
            if getattr(values, name) is None:
                options[name] = default
        if context is not None:
            options["global_request_id"] = context.global_request_id or context.request_id
        try:
            return loading.load_adapter_from_conf_options(self._conf, group, **options)
        except TypeError as exc:  # valid_interfaces and version options that contradict each other
            raise errors.InvalidConfiguration(f"[{group}]: {exc}") from exc


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
