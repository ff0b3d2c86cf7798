"""The request context: who asked, with which token, under which request id."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import Any


class RequestContext:
    """A received context, kept whole so that it travels on with every call made for the request.

    ``fields`` are the keys of oslo's context as Nova sends them (user_id, project_id, auth_token,
    request_id, roles, is_admin, read_deleted, service_catalog ...).
    """

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = dict(fields)

    @classmethod
    def admin(cls) -> RequestContext:
        """The agent's own context for periodic work: no user, administrator."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        return cls(
            {
                "user": None,
                "user_id": None,
                "project_id": None,
                "auth_token": None,
                "is_admin": True,
                "read_only": False,
                "show_deleted": False,
                "read_deleted": "no",
                "roles": [],
                "request_id": f"req-{uuid.uuid4()}",
                "global_request_id": None,
                "remote_address": None,
                "timestamp": now.isoformat(),
                "quota_class": None,
                "service_catalog": [],
            }
        )

    def elevated(self, *, read_deleted: bool = False) -> RequestContext:
        """The same request with administrator rights, optionally seeing deleted rows."""
        roles = list(self.roles)
        if "admin" not in roles:
            roles.append("admin")
        changed = {**self.fields, "is_admin": True, "roles": roles}
        if read_deleted:
            changed["read_deleted"] = "yes"
        return RequestContext(changed)

    @property
    def request_id(self) -> str:
        return str(self.fields.get("request_id") or "")

    @property
    def global_request_id(self) -> str | None:
        """The id that another service gave the request, to be sent on to REST services."""
        return self.fields.get("global_request_id")

    @property
    def user_id(self) -> str | None:
        return self.fields.get("user_id")

    @property
    def user_name(self) -> str | None:
        return self.fields.get("user_name")

    @property
    def project_id(self) -> str | None:
        return self.fields.get("project_id")

    @property
    def project_name(self) -> str | None:
        return self.fields.get("project_name")

    @property
    def roles(self) -> Sequence[str]:
        return self.fields.get("roles") or ()

    @property
    def is_admin(self) -> bool:
        return bool(self.fields.get("is_admin"))

    @property
    def auth_token(self) -> str | None:
        """The user's Keystone token: never to be logged or put into an error's text."""
        return self.fields.get("auth_token")

    @property
    def service_catalog(self) -> Sequence[dict[str, Any]]:
        """The catalog of the token, in the form of Keystone v2."""
        return self.fields.get("service_catalog") or ()

    @property
    def timestamp(self) -> str | None:
        """When the API got the request, in ISO format, UTC without a zone."""
        return self.fields.get("timestamp")

    @property
    def age(self) -> float:
        """Seconds since the API got the request, by its clock and ours; 0 where nobody knows."""
        try:
            then = datetime.datetime.fromisoformat(str(self.timestamp))
        except ValueError:
            return 0.0
        if then.tzinfo is None:
            then = then.replace(tzinfo=datetime.UTC)
        return (datetime.datetime.now(datetime.UTC) - then).total_seconds()

    @property
    def read_deleted(self) -> str:
        """Whether deleted rows are seen: ``no``, ``yes`` or ``only``."""
        return str(self.fields.get("read_deleted") or "no")

    def __repr__(self) -> str:
        return f"<RequestContext {self.request_id} project={self.fields.get('project_id')}>"
