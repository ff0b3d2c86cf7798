"""The request context has the fields that Nova sends, by name."""

from __future__ import annotations

import pytest

from nova_lite.wire.context import RequestContext


def test_fields_are_read_by_name() -> None:
    """What the message lacks is empty."""
    context = RequestContext({"user_id": "u", "roles": ["reader"], "is_admin": True})

    assert ("u", ["reader"], True) == (context.user_id, context.roles, context.is_admin)
    assert (None, None, "no") == (context.project_id, context.auth_token, context.read_deleted)
    assert ((), "") == (tuple(context.service_catalog), context.request_id)


def test_a_typo_is_an_error() -> None:
    """A name that nobody sends must not read as empty."""
    with pytest.raises(AttributeError):
        _ = RequestContext({"user_id": "u"}).userid  # type: ignore[attr-defined]


def test_an_elevated_context_keeps_the_request() -> None:
    """Only rights are added."""
    context = RequestContext({"request_id": "req-1", "roles": ["reader"]}).elevated(
        read_deleted=True
    )

    assert ("req-1", ["reader", "admin"]) == (context.request_id, context.roles)
    assert (True, "yes") == (context.is_admin, context.read_deleted)
