"""Steps that take and give back a share of this host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_lite.inventory.claims import Role, Sizes
from nova_lite.services import guest
from nova_lite.services.groups import check_group_policy
from nova_lite.services.ownership import is_here
from nova_lite.services.work import Work
from nova_lite.steps.base import Step


class ClaimResources(Step):
    """Check the request and take its share: CPUs to pin, NUMA nodes and huge pages are fitted."""

    name = "claim_resources"

    def do(self) -> None:
        guest.validate(self.work)
        server, instance = self.work.server, self.work.instance
        placed = self.tools.claims.claim(
            self.work.uuid,
            Sizes.of(server.flavor, volume_backed=server.image.id is None),
            instance.get("numa_topology"),
            limits=_limits(self.work).get("numa_topology"),
            placed=is_here(self.work),
            project_id=instance.get("project_id"),
            os_type=instance.get("os_type"),
        )
        if placed is not None and placed != self.work.notes.get("numa_topology"):
            self.work.note(numa_topology=placed)
        check_group_policy(self.work)

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid, Role.CURRENT)


def _limits(work: Work) -> Mapping[str, Any]:
    """What the scheduler says that may be used here; a boot has it in a place of its own."""
    filter_properties = work.arguments.get("filter_properties") or {}
    return work.arguments.get("limits") or filter_properties.get("limits") or {}


class ReleaseResources(Step):
    """Give the share back."""

    name = "release_resources"

    def do(self) -> None:
        self.tools.claims.release(self.work.uuid)
        self.tools.usage_changed()
