"""Volumes that have grown: what guest and records are told, and what never happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import VolumeExtendFailed
from nova_lite.model.volume import Connection
from nova_lite.services.work import Work
from nova_lite.steps.volume.extend import GIB, ExtendVolume
from nova_lite.wire import connection_info
from nova_lite.wire.objects import WireObject

VOLUME = "66666666-2222-3333-4444-555555555555"
SERVER = "c71fc38d-cb93-421c-8e7c-40292545fa91"
HEADER = 2 * 1024**2


class World:
    """One attached volume: what Cinder says of it, what the mapping keeps, what the guest sees."""

    def __init__(self, *, cinder: int, mapped: int, seen: int | None, luks: bool = False) -> None:
        connection = Connection("rbd", VOLUME, {"encrypted": luks})
        self.mapping: WireObject | None = WireObject.new(
            "BlockDeviceMapping",
            "1.21",
            volume_size=mapped,
            connection_info=connection_info.dump(connection),
        )
        self.cinder, self.seen, self.resized = cinder, seen, []
        self.notes: dict[str, Any] = {}
        tools: Any = SimpleNamespace(
            block_devices=SimpleNamespace(
                by_volume=lambda context, server, volume: self.mapping,
                save=lambda context, mapping, **fields: mapping.set(**fields),
            ),
            cinder=SimpleNamespace(volume=lambda context, volume: {"size": self.cinder}),
            volumes=SimpleNamespace(
                of=lambda connection: SimpleNamespace(extend=lambda connection, size: size)
            ),
            hypervisor=SimpleNamespace(
                disk_size=lambda uuid, serial: self.seen,
                resize_disk=lambda uuid, serial, size: self.resized.append(size),
            ),
        )
        instance = WireObject.new("Instance", "2.8", uuid=SERVER)
        self.work = Work(None, tools, instance, {}, self.notes, self.note)  # type: ignore[arg-type]

    def note(self, **notes: Any) -> None:
        self.notes.update(notes)

    def extend(self) -> None:
        ExtendVolume(self.work, VOLUME).do()

    @property
    def kept(self) -> int:
        assert self.mapping is not None
        return int(self.mapping["volume_size"])


def test_a_running_guest_sees_the_new_size() -> None:
    """And the mapping keeps it; again is the same."""
    world = World(cinder=2, mapped=1, seen=GIB)
    world.extend()
    world.extend()
    assert (world.kept, world.resized) == (2, [2 * GIB, 2 * GIB])


def test_a_guest_that_is_off_sees_it_later() -> None:
    """Only the mapping changes."""
    world = World(cinder=2, mapped=1, seen=None)
    world.extend()
    assert (world.kept, world.resized) == (2, [])


@pytest.mark.parametrize(("mapped", "seen"), [(3, 3 * GIB), (2, 3 * GIB)])
def test_no_disk_is_made_smaller(mapped: int, seen: int) -> None:
    """Neither below what was kept nor below what the guest has."""
    world = World(cinder=2, mapped=mapped, seen=seen)
    with pytest.raises(VolumeExtendFailed):
        world.extend()
    assert world.resized == []


def test_the_header_of_an_encrypted_volume_is_not_the_guests() -> None:
    """Also for an agent that comes after one that was killed in the middle."""
    world = World(cinder=2, mapped=1, seen=GIB - HEADER, luks=True)
    world.extend()
    world.extend()
    assert world.resized == [2 * GIB - HEADER] * 2


def test_an_encrypted_volume_whose_header_is_unknown_waits_for_the_next_start() -> None:
    """Better too small than with a header that is overwritten."""
    world = World(cinder=3, mapped=2, seen=GIB, luks=True)
    with pytest.raises(VolumeExtendFailed):
        world.extend()
    assert world.resized == []


def test_a_volume_that_is_not_attached_is_left_alone() -> None:
    """As with nova-compute; nor one that no host has connected."""
    world = World(cinder=2, mapped=1, seen=GIB)
    assert world.mapping is not None
    world.mapping.set(connection_info=None)
    world.extend()
    world.mapping = None
    world.extend()
    assert world.resized == []
