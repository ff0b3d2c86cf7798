"""What is told of the use of volumes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from nova_lite.model.diagnostics import DiskStats
from nova_lite.model.domain import DiskSpec
from nova_lite.services import volume_usage
from nova_lite.wire.objects import WireObject
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor

VOLUME = "66666666-2222-3333-4444-555555555555"


def test_only_volumes_of_guests_that_run_are_counted(tmp_path) -> None:
    """A disk without a serial is no volume."""
    hypervisor = FakeHypervisor()
    guest = tiny_guest(tmp_path)
    volume = DiskSpec("vdb", "virtio", str(tmp_path / "volume"), serial=VOLUME)
    hypervisor.define(replace(guest, disks=(*guest.disks, volume)))
    tools: Any = SimpleNamespace(hypervisor=hypervisor)
    assert volume_usage.counters(tools, guest.uuid) == {}

    hypervisor.start(guest.uuid)
    found = volume_usage.counters(tools, guest.uuid)
    assert {name: stats.target for name, stats in found.items()} == {VOLUME: "vdb"}


def test_totals_are_part_of_what_is_told() -> None:
    """Records keep the guest's counters; readers hear of all since the first attach."""
    saved, told = [], []

    def save(context: Any, **fields: Any) -> dict[str, Any]:
        saved.append(fields)
        totals = {"tot_reads": 10, "tot_read_bytes": 20, "tot_writes": 30, "tot_write_bytes": 40}
        times = {"tot_last_refreshed": None, "curr_last_refreshed": "2026-11-21T14:00:00Z"}
        return {**fields, **totals, **times}

    tools: Any = SimpleNamespace(
        volume_usages=SimpleNamespace(save=save),
        notifier=SimpleNamespace(on=True, volume_usage=lambda context, used: told.append(used)),
    )
    instance = WireObject.new("Instance", "2.8", uuid="s", project_id="p", user_id="u",
                              availability_zone="nova")  # fmt: skip
    stats = DiskStats("vdb", 1, 2, 3, 4, 0)
    volume_usage.record(tools, None, instance, VOLUME, stats)  # type: ignore[arg-type]

    (kept,) = saved
    assert (kept["curr_reads"], kept["curr_write_bytes"], kept["ended"]) == (1, 4, False)
    assert told == [
        {
            "volume_id": VOLUME, "project_id": "p", "user_id": "u", "availability_zone": "nova",
            "instance_uuid": "s", "reads": 11, "read_bytes": 22, "writes": 33, "write_bytes": 44,
            "last_refreshed": "2026-11-21T14:00:00Z",
        }
    ]  # fmt: skip
