"""Steps of the host that is to get a server from another cell: check and claim."""

from __future__ import annotations

from typing import Any

from nova_lite.errors import MigrationPreCheckFailed
from nova_lite.model.server import Flavor
from nova_lite.services import cell_moves
from nova_lite.services.disk_files import ROOT, directory
from nova_lite.services.work import Work
from nova_lite.steps.move.prepare import CheckMove, ClaimMove, wanted_server

# Extra specs of a flavor that ask for a NUMA topology (nova/virt/hardware.py).
_NUMA_SPECS = (
    "hw:numa_",
    "hw:cpu_policy",
    "hw:cpu_thread_policy",
    "hw:cpu_dedicated_mask",
    "hw:emulator_threads_policy",
    "hw:mem_page_size",
)


class CheckCellMove(CheckMove):
    """Refuse what cannot come here from another cell; errors are as nova-conductor expects them."""

    name = "check_cell_move"

    def do(self) -> None:
        work = self.work
        with cell_moves.pre_check(work):
            super().do()
            cell_moves.refuse_unmovable(work)
            self._refuse_taken()

    def _refuse_taken(self) -> None:
        """Storage that hosts of both cells share has the disks of the old host under the same
        names: they would be used here, and removed with this host's."""
        where = directory(self.work)
        if where.exists() or self.tools.disks.exists(where, ROOT):
            raise MigrationPreCheckFailed(
                self.tools.host,
                f"it has files of server {self.work.uuid} already, in {where} or in its pool. "
                "Hosts of two cells must not keep servers in the same storage; if no other host "
                "uses them, remove them",
            )


class ClaimCellMove(ClaimMove):
    """As ClaimMove; errors are as nova-conductor expects them, which sends no request spec."""

    name = "claim_cell_move"

    def do(self) -> None:
        with cell_moves.pre_check(self.work):
            super().do()

    def wanted_topology(self) -> Any:
        """That of the server, where the new flavor asks for the same one.

        :raises MigrationPreCheckFailed: it asks for another one, which nobody tells
        """
        work, known = self.work, self.work.instance.get("numa_topology")
        new = wanted_server(work).flavor
        if known is None and not _numa_specs(new):
            return None
        if known is not None and _same_topology(work, new):
            return known
        raise MigrationPreCheckFailed(
            self.tools.host,
            f"what flavor {new.name} asks for on NUMA nodes is not the same as what server "
            f"{work.uuid} has, and a move to another cell does not tell it; migrate the server "
            "with its flavor first, and resize it then",
        )


def _same_topology(work: Work, new: Flavor) -> bool:
    old = work.server.flavor
    return (old.vcpus, old.memory_mb, _numa_specs(old)) == (
        new.vcpus, new.memory_mb, _numa_specs(new)
    )  # fmt: skip


def _numa_specs(flavor: Flavor) -> dict[str, str]:
    return {k: v for k, v in flavor.extra_specs.items() if k.startswith(_NUMA_SPECS)}
