"""The request context: who asked, with which token, under which request id."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
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
        roles = list(self.fields.get("roles") or ())
        if "admin" not in roles:
            roles.append("admin")
        changed = {**self.fields, "is_admin": True, "roles": roles}
        if read_deleted:
            changed["read_deleted"] = "yes"
        return RequestContext(changed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.fields.get(name)

    @property
    def request_id(self) -> str:
        return str(self.fields.get("request_id") or "")

    def __repr__(self) -> str:
        return f"<RequestContext {self.request_id} project={self.fields.get('project_id')}>"
