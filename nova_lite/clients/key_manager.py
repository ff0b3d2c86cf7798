"""Keys of volumes and TPMs: nova.conf's fixed key, or those of Barbican or Vault by castellan."""

from __future__ import annotations

import base64
import logging
import os
import re
import threading
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nova_lite.clients.session import Sessions
from nova_lite.errors import ControlPlaneUnavailable, InvalidConfiguration, VolumeKeyUnavailable
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

# The name under which Cinder knows its own fixed_key.
FIXED_KEY_ID = "00000000-0000-0000-0000-000000000000"

# What tells of requests, and what in them is secret.
REQUEST_LOGGERS = ("keystoneauth.session", "keystoneauth.session.request",
                   "keystoneauth.session.body")  # fmt: skip
PAYLOAD = re.compile(r'("payload": *)"(?:[^"\\]|\\.)*"')
# As long as nova-compute makes it.
PASSPHRASE_BYTES = 384


class KeyManager:
    """Asks for keys with the token of the request that needs them; keeps none of them.

    What is asked for with ``own`` belongs to the compute service: to the user of [service_user], as
    in stock (``get_nova_service_user_context`` of nova/context.py), and needs no token.

    :param sessions: where that token becomes credentials
    :param conf: the options as read from nova.conf
    """

    def __init__(self, sessions: Sessions, conf: Any) -> None:
        self._sessions = sessions
        self._conf = conf
        self._manager: Any = None
        self._lock = threading.Lock()

    def passphrase(self, context: RequestContext, key_id: str) -> str:
        """What opens a LUKS volume that was encrypted with a key.

        :param key_id: the volume's encryption_key_id in Cinder
        :raises VolumeKeyUnavailable: there is no such key, or the user may not have it
        :raises ControlPlaneUnavailable: the key manager does not answer
        :raises InvalidConfiguration: [key_manager] makes no sense
        """
        # Cinder formats volumes with the key's bytes in hex, as a key is no text.
        return self._key(context, key_id).hex()

    def create(self, context: RequestContext, name: str, *, own: bool = False) -> str:
        """Keep a new passphrase for the user of a request; returns its id.

        It is the user's, and nobody else's: never the agent's, but with ``own``.

        :raises VolumeKeyUnavailable: there is no key manager, or the user may keep nothing there
        :raises RequestTokenExpired: the request has no token
        :raises CredentialsInvalid: with ``own``: there are none, or Keystone refuses them
        :raises ControlPlaneUnavailable: the key manager does not answer
        """
        from castellan.common.objects.passphrase import Passphrase

        text = base64.b64encode(os.urandom(PASSPHRASE_BYTES))
        made = self._call(
            f"it keeps no {name}",
            lambda m, c: m.store(c, Passphrase(text, name=name)),
            context,
            own=own,
        )
        return str(made)

    def secret(self, context: RequestContext, key_id: str, *, own: bool = False) -> bytes:
        """A passphrase that ``create`` has made; raises as it does."""
        found = self._call(
            f"no key {key_id} from it", lambda m, c: m.get(c, key_id), context, own=own
        )
        return bytes(found.get_encoded())

    def delete(self, context: RequestContext, key_id: str, *, own: bool = False) -> None:
        """Delete a passphrase, if it is there; raises as ``create`` does."""
        from castellan.common.exception import ManagedObjectNotFoundError

        def delete(manager: Any, credentials: Any) -> None:
            try:
                manager.delete(credentials, key_id)
            except ManagedObjectNotFoundError:
                LOG.debug("Key %s is gone already", key_id)

        self._call(f"it does not delete key {key_id}", delete, context, own=own)

    def _call(
        self, trouble: str, ask: Callable[[Any, Any], Any], context: RequestContext, *, own: bool
    ) -> Any:
        from castellan.common.exception import CastellanException
        from keystoneauth1.exceptions import ClientException

        backend = self._conf.key_manager.backend
        if backend.endswith("ConfKeyManager"):
            raise VolumeKeyUnavailable(
                f"[key_manager]backend = {backend} keeps no keys: set up barbican or vault"
            )
        try:
            credentials = self._own() if own else self._credentials(context, fall_back=False)
            return ask(self._castellan(), credentials)
        except (CastellanException, ClientException) as error:
            message = f"the key manager was asked, but {trouble}: {error}"
            if _is_away(error):
                raise ControlPlaneUnavailable(message) from None
            raise VolumeKeyUnavailable(message) from None

    def _key(self, context: RequestContext, key_id: str) -> bytes:
        options = self._conf.key_manager
        if key_id == FIXED_KEY_ID and options.fixed_key is not None:
            try:
                return bytes.fromhex(options.fixed_key)
            except ValueError:
                raise InvalidConfiguration("[key_manager]fixed_key is not in hex") from None
        if key_id == FIXED_KEY_ID or options.backend.endswith("ConfKeyManager"):
            raise VolumeKeyUnavailable(
                f"key {key_id} cannot be had with [key_manager]backend = {options.backend} and "
                f"{'no' if options.fixed_key is None else 'a'} fixed_key: set them as Cinder's are"
            )
        return self._ask(context, key_id)

    def _ask(self, context: RequestContext, key_id: str) -> bytes:
        from castellan.common.exception import CastellanException
        from keystoneauth1.exceptions import ClientException

        try:
            key = self._castellan().get(self._credentials(context), key_id)
            return bytes(key.get_encoded())
        except (CastellanException, ClientException) as error:
            message = f"no key {key_id} from the key manager: {error}"
            if _is_away(error):
                raise ControlPlaneUnavailable(message) from None
            raise VolumeKeyUnavailable(message) from None

    def _castellan(self) -> Any:
        """Castellan's manager; its options are its own, so it reads nova.conf for itself."""
        from castellan import key_manager

        with self._lock:
            if self._manager is None:
                files, directories = self._conf.config_file, self._conf.config_dir
                own = cfg.ConfigOpts()
                own([], default_config_files=files, default_config_dirs=directories)
                self._manager = key_manager.API(own)
                for name in REQUEST_LOGGERS:
                    logging.getLogger(name).addFilter(_without_payload)
            return self._manager

    def _credentials(self, context: RequestContext, *, fall_back: bool = True) -> Any:
        from oslo_context.context import RequestContext as OsloContext

        found = OsloContext.from_dict(context.fields)
        adapter = self._sessions.user("cinder", "key-manager", context, fall_back=fall_back)
        # How castellan asks for the way to authenticate.
        found.get_auth_plugin = lambda: adapter.auth  # type: ignore[attr-defined]
        return found

    def _own(self) -> Any:
        """The credentials of the compute service, as castellan wants them."""
        from oslo_context.context import RequestContext as OsloContext

        auth, found = self._sessions.deployment(), OsloContext(overwrite=False)
        found.get_auth_plugin = lambda: auth  # type: ignore[attr-defined]
        return found


def _without_payload(record: logging.LogRecord) -> bool:
    """Take what is stored out of the requests that keystoneauth shows at level DEBUG."""
    text = record.getMessage()
    if '"payload"' in text:
        record.msg, record.args = PAYLOAD.sub(r'\1"***"', text), ()
    return True


def _is_away(error: BaseException) -> bool:
    """Whether the cause is that nobody answered, not what was answered."""
    from keystoneauth1 import exceptions

    away = (exceptions.ConnectFailure, exceptions.HttpServerError, ControlPlaneUnavailable)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, away):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
