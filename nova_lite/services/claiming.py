"""What a server claims of this host: the sizes of a flavor, and a place on NUMA nodes."""

from __future__ import annotations

from typing import Any

from nova_lite.inventory.claims import Role, Sizes
from nova_lite.model.server import Server
from nova_lite.services.notes import GuestNotes
from nova_lite.services.toolbox import Toolbox
from nova_lite.services.work import Work


def claim(
    work: Work,
    server: Server,
    topology: Any,
    *,
    limits: Any = None,
    placed: bool = False,
    role: Role = Role.CURRENT,
) -> dict[str, Any] | None:
    """Claim what ``server`` needs; arguments, result and errors as of ``Claims.claim``.

    :param server: the operation's, or it with the flavor that it is to have
    :param topology: the InstanceNUMATopology that it wants, or has
    """
    return work.tools.claims.claim(
        work.uuid,
        Sizes.of(server.flavor, volume_backed=server.image.id is None),
        topology,
        limits=limits,
        placed=placed,
        project_id=work.instance.get("project_id"),
        os_type=work.instance.get("os_type"),
        role=role,
    )


def rest_cpus(tools: Toolbox) -> None:
    """Power down dedicated host CPUs that no guest is pinned to, unless one is about to come that
    may be: they were powered up for it."""
    if not tools.claims.expects_pinned():
        tools.hypervisor.rest_cpus()


def claim_and_note(work: Work, server: Server, topology: Any, **how: Any) -> None:
    """As :func:`claim`; where the server was placed is noted for the steps that follow."""
    placed = claim(work, server, topology, **how)
    if placed is not None and placed != GuestNotes.of(work.notes).numa_topology:
        work.note(numa_topology=placed)
