"""What steps of an operation tell later ones, by subject; the journal keeps it.

A step writes with ``work.note(name=value)``, which is durable and refuses names that no record
here has. It reads with the record of its subject: ``PortNotes.of(work.notes).vifs``. Values are
JSON-able. What a newer agent has noted beside is left alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Notes:
    """A record of notes; a field that was not noted has its default."""

    @classmethod
    def of(cls, notes: Mapping[str, Any]) -> Self:
        """The record as the notes of an operation have it."""
        known = (field.name for field in fields(cls))
        return cls(**{name: notes[name] for name in known if name in notes})


@dataclass(frozen=True)
class RunNotes(Notes):
    """What the engine has told of the operation: that its event began, and which notifications."""

    event: bool = False
    told: tuple[str, ...] | list[str] = ()


@dataclass(frozen=True)
class PortNotes(Notes):
    """The ports as this operation knows them (network info cache), the tags of tagged ones by MAC
    address, and the ids of those that were not wired up when they were plugged.

    ``lost`` are ports of the cache that the server has no more, though their interfaces may still
    be here; ``taps`` (device -> MAC address) those that the guest had beside; ``deleted`` is the
    port that a server is to be rid of. ``addresses`` are those of the ports (id -> addresses) one
    of which is to get another one; ``loses_address`` is the port that is to have one less.
    ``groups`` are the names of the ports' security groups."""

    vifs: str | None = None
    lost: str | None = None
    taps: dict[str, str] | None = None
    deleted: str | None = None
    nic_tags: dict[str, str] | None = None
    await_ports: list[str] | None = None
    addresses: dict[str, list[str]] | None = None
    loses_address: str | None = None
    groups: list[str] | None = None


@dataclass(frozen=True)
class AttachNotes(Notes):
    """Of one interface: the name that a port made for it gets, whether Neutron was asked for that
    more than once, the port's id, whether it was made here, and how Neutron has described it
    (network info); ``attach_rate`` is what it asks of Placement (``resource_request``), and
    ``detach_vif`` an interface that the server is to lose."""

    attach_name: str | None = None
    attach_again: bool = False
    attach_port: str | None = None
    attach_made: bool = False
    attach_rate: Mapping[str, Any] | None = None
    attach_vif: str | None = None
    detach_vif: str | None = None


@dataclass(frozen=True)
class ImageNotes(Notes):
    """Image id -> where a disk is cloned from; empty: it is fetched into the cache."""

    origins: Mapping[str, str] | None = None


@dataclass(frozen=True)
class GuestNotes(Notes):
    """The NUMA topology placed on this host, the defaults chosen for the guest, and the id of the
    key that was made for its TPM."""

    numa_topology: dict[str, Any] | None = None
    registered: Mapping[str, str] | None = None
    tpm_key: str | None = None


@dataclass(frozen=True)
class BuildNotes(Notes):
    """Volumes asked for (mapping uuid -> whether it ends with the server), and whether the server
    was, or is being, handed back to the conductor; whether an unshelve took it."""

    asked_for_volumes: Mapping[str, bool] | None = None
    handing_over: bool = False
    handed_over: bool = False
    taken: bool = False


@dataclass(frozen=True)
class MoveNotes(Notes):
    """Whether this host has begun to end a move that it refuses; whether the server's files are
    kept under another name, and the state of its disks in a cluster that hosts share.

    ``was_on``: its guest ran before; ``files_shared``: the other host reaches its files where they
    are; ``disk_info`` is what that is told of them, in JSON; ``converting`` are the disks whose
    content in another format is complete."""

    refusing: bool = False
    was_on: bool | None = None
    files_shared: bool | None = None
    disk_info: str | None = None
    converting: tuple[str, ...] | list[str] = ()
    files_kept: bool = False
    state_kept: bool = False


@dataclass(frozen=True)
class LiveNotes(Notes):
    """Of a live migration on the host that has the server: whether it had its turn; what the other
    host has told (LibvirtLiveMigrateData in JSON, without secrets); the attachments of this host
    (mapping uuid -> id). ``live_held``: the guest is held so that its memory can follow;
    ``live_cancelled``: somebody, or the time limit, has ended it; ``live_gone``: the guest was
    found on the other host, and nobody had recorded it. ``live_method``: how it is to go, "nova" as
    [libvirt] says; ``live_forecast``: what was expected (method, seconds, downtime_ms, sent);
    ``live_untold``: why, as long as its action event does not have that; ``live_refused``: it would
    not end in time; ``live_unfinished``: the other host did not make the server its own."""

    live_turn: bool = False
    live_data: str | None = None
    live_attachments: Mapping[str, str] | None = None
    live_held: bool = False
    live_cancelled: bool = False
    live_gone: bool = False
    live_method: str | None = None
    live_forecast: Mapping[str, Any] | None = None
    live_untold: str | None = None
    live_refused: bool = False
    live_unfinished: bool = False


@dataclass(frozen=True)
class CellMoveNotes(Notes):
    """Of a move to another cell: volume id -> ids of the attachments that are not this host's."""

    other_attachments: Mapping[str, list[str]] | None = None


@dataclass(frozen=True)
class SnapshotNotes(Notes):
    """The copy of a disk (``path`` or ``location``, ``format``, ``refused``), whether the guest is
    held for it, and whether its file systems are frozen."""

    snapshot: Mapping[str, str] | None = None
    held: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class ShelveNotes(Notes):
    """Whether the server leaves its host at once, and the snapshot that it started from."""

    offload: bool | None = None
    shelved_image: str | None = None


@dataclass(frozen=True)
class RebuildNotes(Notes):
    """Whether Cinder has written the new image into the root volume."""

    reimaged: bool = False


@dataclass(frozen=True)
class RescueNotes(Notes):
    """Whether the guest was on before, and the image of the rescue system (``model.Image``)."""

    ran: bool | None = None
    rescue_image: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class VolumeNotes(Notes):
    """Of one volume: the uuid of the mapping made for it, whether there was one, its last counters,
    whether Cinder is migrating it, and the attachment that it had before."""

    mapping: str | None = None
    mapped: bool = False
    usage: Mapping[str, Any] | None = None
    migrating: bool = False
    old_attachment: str | None = None


@dataclass(frozen=True)
class ExtendNotes(Notes):
    """Volume id -> bytes of it that hold a LUKS header, not the guest's data."""

    luks_headers: Mapping[str, int] | None = None


@dataclass(frozen=True)
class PasswordNotes(Notes):
    """The password, readable with the owner's key only."""

    sealed_password: Mapping[str, str] | None = None


@dataclass(frozen=True)
class EvacuationNotes(Notes):
    """Of a server that comes from a host that failed: whether its disks are here, because storage
    is shared, whether its directory is, and the attachments (mapping uuid -> id) of that host and
    of this one. ``overtaken``: uuids of moves that are over with it."""

    overtaken: tuple[str, ...] | list[str] = ()
    kept: bool | None = None
    directory_kept: bool = False
    source_attachments: Mapping[str, str] | None = None
    own_attachments: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ArrivalNotes(Notes):
    """Of a server that comes here while it runs: the attachments (mapping uuid -> id) of the host
    that it is on and of this one; the host that it has left, and whether its guest was on when it
    was said to be here."""

    attachments_there: Mapping[str, str] | None = None
    attachments_here: Mapping[str, str] | None = None
    left_host: str | None = None
    arrived: bool | None = None


RECORDS = (
    RunNotes, PortNotes, AttachNotes, ImageNotes, GuestNotes, BuildNotes, MoveNotes, SnapshotNotes,
    ShelveNotes, RebuildNotes, RescueNotes, VolumeNotes, ExtendNotes, PasswordNotes,
    EvacuationNotes, LiveNotes, ArrivalNotes, CellMoveNotes,
)  # fmt: skip


@functools.cache
def names() -> frozenset[str]:
    """All names that can be noted."""
    return frozenset(field.name for record in RECORDS for field in fields(record))


def checked(note: Callable[..., None]) -> Callable[..., None]:
    """``note``, for known names only."""
    known = names()

    def write(**values: Any) -> None:
        if unknown := values.keys() - known:
            raise TypeError(
                f"no record of services/notes.py has {', '.join(sorted(unknown))}: add it there"
            )
        note(**values)

    return write
