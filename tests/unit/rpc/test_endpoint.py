"""The table of the compute RPC API is made of what the verbs declare."""

from __future__ import annotations

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


def test_what_the_control_plane_may_send_and_nobody_builds_is_refused() -> None:
    """HTTP 501 for hosts that are asked to go into maintenance."""
    route = ROUTES["host_maintenance_mode"]

    assert (None, None, Unsupported) == (route.operation, route.handler, route.unsupported)
