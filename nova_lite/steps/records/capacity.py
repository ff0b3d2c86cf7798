"""Steps that claim resources of this host for a server, and release the claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.inventory.claims import Role
from nova_lite.services import guest
from nova_lite.services.claiming import claim_and_note
from nova_lite.services.groups import check_group_policy
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class ClaimResources(Step):
    """Check the request and claim its resources, with pinned CPUs, NUMA nodes and huge pages."""

    name = "claim_resources"

    def do(self) -> None:
        work = self.work
        guest.validate(work)
        claim_and_note(
            work,
            work.server,
            work.instance.get("numa_topology"),
            limits=_limits(work).get("numa_topology"),
            placed=work.here,
        )
        check_group_policy(work)

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid, Role.CURRENT)


def _limits(work: Work) -> Mapping[str, Any]:
    """The scheduler's limits: an argument, or part of the filter_properties of a boot."""
    filter_properties = work.arguments.get("filter_properties") or {}
    return work.arguments.get("limits") or filter_properties.get("limits") or {}


class ReleaseResources(Step):
    """Release the claim, and report the inventory soon."""

    name = "release_resources"

    def do(self) -> None:
        self.tools.claims.release(self.work.uuid)
        self.tools.usage_changed()
