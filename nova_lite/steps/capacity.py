"""Steps that take and give back a share of this host."""

from __future__ import annotations

from nova_lite.steps import guest
from nova_lite.steps.base import Step


class ClaimResources(Step):
    """Check the request and take its share: CPUs to pin, NUMA nodes and huge pages are fitted."""

    name = "claim_resources"

    def do(self) -> None:
        guest.validate(self.work)
        server, instance = self.work.server, self.work.instance
        placed = self.tools.claims.claim(
            self.work.uuid,
            server.flavor,
            instance.get("numa_topology"),
            limits=(self.work.arguments.get("limits") or {}).get("numa_topology"),
            placed=instance.get("host") == self.tools.host,
            project_id=instance.get("project_id"),
            os_type=instance.get("os_type"),
        )
        if placed is not None and placed != self.work.notes.get("numa_topology"):
            self.work.note(numa_topology=placed)

    def undo(self) -> None:
        self.tools.claims.release(self.work.uuid)


class ReleaseResources(Step):
    """Give the share back."""

    name = "release_resources"

    def do(self) -> None:
        self.tools.claims.release(self.work.uuid)
        self.tools.usage_changed()
