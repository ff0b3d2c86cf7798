"""A server that does not come after all: its claim here goes, and no other one."""

from __future__ import annotations

from types import SimpleNamespace

from nova_lite.handlers.move_claims import MoveClaims
from nova_lite.inventory.claims import Claims, Role, Sizes
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


def test_only_what_was_claimed_for_the_move_is_released():
    """Asked twice, too; an argument of tomorrow is ignored."""
    claims, reported = Claims(), []
    claims.claim("s1", Sizes(1, 32))
    claims.claim("s1", Sizes(2, 64), role=Role.INCOMING)
    tools = SimpleNamespace(claims=claims, usage_changed=lambda: reported.append(True))
    instance = WireObject.new("Instance", "2.8", uuid="s1")

    for _ in range(2):
        MoveClaims(tools).drop_move_claim_at_destination(
            RequestContext.admin(), instance=instance, more=1
        )

    assert claims.usage().used.vcpus == 1
    assert reported
