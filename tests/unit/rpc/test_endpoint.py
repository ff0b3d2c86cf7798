"""The table of the compute RPC API is made of what the verbs declare."""

from __future__ import annotations

import pytest

from nova_lite.errors import MoveUnsupported
from nova_lite.rpc import endpoint
from nova_lite.rpc.dispatch import Unsupported
from nova_lite.wire.objects import WireObject

ROUTES = endpoint.routes({})


def test_a_route_has_the_arguments_of_its_verb() -> None:
    """The instance is implied; null is allowed where the verb says so."""
    build = ROUTES["build_and_run_instance"].arguments

    assert (WireObject, dict) == (build["instance"], build["image"])
    assert [isinstance(None, kind) for kind in (build["requested_networks"], build["image"])] == [
        True,
        False,
    ]


def test_only_the_password_is_called_with_a_task_state() -> None:
    """nova-api sets updating_password before its call; other calls come without a task state."""
    assert ["set_admin_password"] == [name for name, route in ROUTES.items() if route.task_state]


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("pre_live_migration", Unsupported),
        ("check_can_live_migrate_destination", MoveUnsupported),
        ("check_can_live_migrate_source", MoveUnsupported),
    ],
)
def test_methods_of_tomorrow_say_how_they_are_refused(method, error) -> None:
    """HTTP 501, unless there is a better answer: NotImplementedError would put a server into ERROR
    whose live migration is being checked."""
    route = ROUTES[method]

    assert (None, None, error) == (route.operation, route.handler, route.unsupported)
