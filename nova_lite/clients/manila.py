"""Manila, only the calls a compute host makes; its refusals as errors of ours.

https://docs.openstack.org/api-ref/shared-file-system/ ; from microversion 2.82 on an access rule
can be locked as it is made: only who has made it can see whom it lets in, and take it away.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite import errors
from nova_lite.clients.rest import answering, reason
from nova_lite.clients.session import Sessions
from nova_lite.model.share import AccessRule
from nova_lite.wire.context import RequestContext

LOG = logging.getLogger(__name__)

GROUP = "manila"
SERVICE_TYPE = "shared-file-system"
MICROVERSION = "2.82"


class Manila:
    """Manila's REST calls about access rules, with the agent's own credentials.

    A user must not be able to take away, or to read, what a host is let in by. Every method may
    raise ShareServiceUnavailable (no answer), CredentialsInvalid and ShareNotFound.

    :param sessions: where adapters come from
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def access_rule(
        self, context: RequestContext, share_id: str, access_type: str, access_to: str
    ) -> AccessRule | None:
        """The rule that lets somebody at a share; None where there is none."""
        query = {"share_id": share_id}
        try:
            answer = self._call(context, "GET", "share-access-rules", share_id, params=query)
        except errors.ShareRequestRefused:  # what Manila says of rules of a share that is gone
            raise errors.ShareNotFound(share_id) from None
        for rule in answer.json()["access_list"]:
            if (rule["access_type"], rule["access_to"]) == (access_type, access_to):
                return AccessRule(rule["id"], rule["state"], rule.get("access_key"))
        return None

    def allow(
        self,
        context: RequestContext,
        share_id: str,
        access_type: str,
        access_to: str,
        lock_reason: str,
    ) -> None:
        """Let somebody read and write a share. Never repeated by itself: look at
        :meth:`access_rule` after ShareServiceUnavailable.

        :param access_type: ip, or cephx
        :param access_to: an address, or the name of an identity
        :param lock_reason: shown to whoever tries to take the rule away
        :raises ShareAccessGrantError: Manila refuses, for instance because there is such a rule
        """
        wanted = {
            "access_type": access_type,
            "access_to": access_to,
            "access_level": "rw",
            "lock_visibility": True,
            "lock_deletion": True,
            "lock_reason": lock_reason,
        }
        try:
            self._act(context, share_id, {"allow_access": wanted}, connect_retries=0)
        except errors.ShareRequestRefused as error:
            raise errors.ShareAccessGrantError(share_id, error.message) from None

    def deny(self, context: RequestContext, share_id: str, rule_id: str) -> None:
        """Take a rule of ours away; one that is gone is success.

        :raises ShareAccessRemovalError: Manila refuses
        """
        wanted = {"access_id": rule_id, "unrestrict": True}
        try:
            self._act(context, share_id, {"deny_access": wanted})
        except errors.ShareNotFound:
            LOG.info("Access rule %s of share %s is gone already", rule_id, share_id)
        except errors.ShareRequestRefused as error:
            raise errors.ShareAccessRemovalError(share_id, error.message) from None

    # --- the wire ---------------------------------------------------------------------------
    def _act(
        self, context: RequestContext, share_id: str, body: dict[str, Any], **kwargs: Any
    ) -> None:
        self._call(
            context, "POST", f"shares/{share_id}/action", share_id,
            json=body, status_code_retries=0, **kwargs,
        )  # fmt: skip

    def _call(
        self, context: RequestContext, method: str, path: str, share_id: str, **kwargs: Any
    ) -> Any:
        headers = {"X-OpenStack-Manila-API-Version": MICROVERSION}
        with answering("Manila", f"{method} {path}", errors.ShareServiceUnavailable):
            adapter = self._sessions.service(GROUP, SERVICE_TYPE, context)
            url = f"{_endpoint(adapter)}/{path}"
            answer = adapter.request(url, method, raise_exc=False, headers=headers, **kwargs)
        LOG.debug("%s %s: HTTP %s", method, path, answer.status_code)
        if answer.status_code >= 400:
            raise _refusal(answer, method, path, share_id)
        return answer


def _endpoint(adapter: Any) -> str:
    """The address up to the version; catalogs may name a project behind it."""
    address = adapter.get_endpoint(skip_discovery=True)
    if not address:
        raise errors.InvalidConfiguration(
            f"the service catalog has no {SERVICE_TYPE}: check service_type, region_name and "
            f"valid_interfaces of [{GROUP}]"
        )
    return f"{address.rstrip('/').partition('/v2')[0]}/v2"


def _refusal(answer: Any, method: str, path: str, share_id: str) -> errors.NovaLiteError:
    """The error that an HTTP error of Manila means."""
    status = answer.status_code
    text = f"Manila refuses {method} {path}: {reason(answer)} (HTTP {status})"
    if status == 401:
        return errors.CredentialsInvalid(f"{text}: check the credentials of [{GROUP}]")
    if status == 404:
        return errors.ShareNotFound(share_id)
    if status >= 500 or status in (408, 429):
        return errors.ShareServiceUnavailable(text)
    return errors.ShareRequestRefused(text)
