"""What nova.conf says about boots."""

from __future__ import annotations

import pytest

from nova_lite.errors import GroupPolicyViolation, HypervisorError, ServerBeingDeleted
from tests.unit.operations.host import Host, build_arguments


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (HypervisorError("no memory"), 3),
        (GroupPolicyViolation("another server of the group is here"), 2),
        (ServerBeingDeleted("deleted"), 2),
    ],
)
def test_a_failed_build_is_counted_where_the_host_is_to_blame(tmp_path, error, counted):
    """Others are no success either: what was counted before stays."""
    host = Host(tmp_path / "state")
    host.hypervisor.fail("define", error)
    agent = host.agent()
    agent.tools.claims.build_ended(failed=True)
    agent.tools.claims.build_ended(failed=True)

    host.send(agent, "build_and_run_instance", **build_arguments())
    assert agent.engine.settle(60)

    assert agent.tools.claims.usage().failed_builds == counted
