"""The operator's own REST services, asked for vendor data about a server: DynamicJSON.

The interface is in nova's documentation (admin/vendordata): a POST of what the service may want to
know, answered by any JSON. These services are no part of OpenStack: none of its tokens but the one
of [vendordata_dynamic_auth] goes there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from nova_lite.clients.session import Sessions
from nova_lite.errors import NovaLiteError, VendorDataUnavailable

LOG = logging.getLogger(__name__)

GROUP = "vendordata_dynamic_auth"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "openstack-nova-vendordata",
}


class VendorServices:
    """Asks the services of [api]vendordata_dynamic_targets.

    :param conf: the options as read from nova.conf
    """

    def __init__(self, sessions: Sessions, conf: Any) -> None:
        self._sessions = sessions
        self._conf = conf

    def ask(self, server_uuid: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """What each service answers, by its name; {} for one that gives no answer.

        :param question: the body of the request; it is not logged
        :raises VendorDataUnavailable: one gives none, with [api]vendordata_dynamic_failure_fatal
        """
        answers: dict[str, Any] = {}
        for name, url in self._targets():
            try:
                answers[name] = self._post(name, url, question)
            except VendorDataUnavailable as error:
                LOG.warning("Vendor data for server %s: %s", server_uuid, error)
                if self._conf.api.vendordata_dynamic_failure_fatal:
                    raise
                answers[name] = {}
        return answers

    def _targets(self) -> Iterator[tuple[str, str]]:
        """Names and addresses: NAME@URL each; the first of a name counts."""
        seen = set()
        for target in self._conf.api.vendordata_dynamic_targets:
            name, separator, url = target.partition("@")
            if not separator:
                LOG.warning("[api]vendordata_dynamic_targets: %s is left out: it is not NAME@URL",
                            target)  # fmt: skip
            elif name in seen:
                LOG.warning("[api]vendordata_dynamic_targets: the second target named %s is left "
                            "out", name)  # fmt: skip
            else:
                seen.add(name)
                yield name, url

    def _post(self, name: str, url: str, question: Mapping[str, Any]) -> Any:
        from keystoneauth1 import exceptions

        api = self._conf.api
        session, authenticated = self._sessions.outside(GROUP)
        verify = api.vendordata_dynamic_ssl_certfile or True
        timeout = (api.vendordata_dynamic_connect_timeout, api.vendordata_dynamic_read_timeout)
        try:
            answer = session.request(
                url, "POST", data=json.dumps(question), headers=HEADERS, verify=verify,
                timeout=timeout, authenticated=authenticated, log=False,
            )  # fmt: skip
            return json.loads(answer.text) if answer.text else {}
        except (exceptions.ClientException, NovaLiteError, ValueError, TypeError, OSError) as error:
            raise VendorDataUnavailable(
                f"the service {name} of [api]vendordata_dynamic_targets gives no vendor data: "
                f"{_reason(error)}"
            ) from None  # what keystoneauth says has the address


def _reason(error: Exception) -> str:
    """Why, without the address: a user may see it, and it may hold a password."""
    status = getattr(error, "http_status", None)
    if isinstance(error, ValueError):
        return "its answer is no JSON"
    return f"HTTP {status}" if status else type(error).__name__
