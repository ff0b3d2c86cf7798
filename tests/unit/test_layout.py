"""The layout of nova_lite as rules: who may import whom, and how long things may get.

``ROOMS`` is the table to read; doc/source/contributor/architecture.rst tells the reasons.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "nova_lite"
NAME = PACKAGE.name

MODULE_LINES = 400
FUNCTION_LINES = 50

ANYTHING = None
BASES = "drivers.base"  # the contracts drivers/<kind>/base.py and what they are made of, only

ANY_DRIVER = "drivers.oslo_globals"  # libraries that drivers of several kinds use

# What everybody may import.
COMMON = ("errors", "failures", "clock", "mount_table")

# Room -> rooms it may import beside COMMON; nobody may import upwards.
ROOMS: dict[str, set[str] | None] = {
    "clock": set(),
    "mount_table": set(),
    "errors": set(),
    "failures": {"errors"},
    "model": set(),
    "conf": set(),
    "wire": {"model"},
    "guest": {"model"},
    "configdrive": {"model"},
    "messaging": {"wire"},
    "conductor": {"messaging", "wire", "model"},
    "peers": {"conductor", "messaging", "wire"},
    "scheduler": {"messaging", "wire"},
    "clients": {"conf", "model", "wire"},
    "drivers": {"model", "conf"},
    "inventory": {"model", "clients", "conductor", "wire"},
    "notifications": {"wire", "model"},
    "services": {
        "model", "guest", "configdrive", BASES, "conductor", "peers", "clients", "wire",
        "inventory", "notifications",
    },
    "steps": {"services", "model", "guest", "configdrive", BASES, "clients", "wire", "inventory"},
    "operations": {"steps", "services", "model", "wire", "conductor", "notifications"},
    "engine": {
        "operations", "steps", "services", "model", "wire", "conductor", "notifications", BASES,
    },
    "handlers": {
        "engine", "services", "inventory", "model", "wire", "conductor", "notifications",
    },
    "membership": {
        "engine", "operations", "services", "conductor", "model", "wire", "inventory", "guest",
        BASES,
    },
    "loops": {
        "engine", "services", "conductor", "inventory", "model", "wire", "notifications", BASES,
        "scheduler", "peers",
    },
    "rpc": {"engine", "operations", "wire"},
    "options": ANYTHING,
    "composition": ANYTHING,
    "preflight": ANYTHING,
    "service": ANYTHING,
    "cmd": ANYTHING,
}  # fmt: skip

# Library -> the only places that import it; an empty tuple is nobody.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "nova": (),
    "eventlet": (),
    "libvirt": ("drivers.hypervisor",),
    "os_vif": ("drivers.vif",),
    "os_brick": ("drivers.volume",),
    "openstack": (),  # the SDK costs 15 MiB; keystoneauth is enough
    "keystoneauth1": ("clients", "conf.keystone", "drivers.image", "preflight"),
    "oslo_messaging": (
        "rpc", "messaging", "conductor.client", "peers.client", "scheduler.client", "wire",
        "preflight", "notifications.sender",
    ),
}

# Imports against the table: (module, what it imports) -> why that is right for now.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("services.image_cache", "drivers.disk"): "cached base files follow the rules of disk files",
    ("services.image_ageing", "drivers.disk"): "it reads headers of disks and writes whole files",
    ("steps.disk.files", "drivers.disk"): "a server's directory survives a power failure",
    ("steps.disk.snapshot", "drivers.disk"): "a snapshot is copied from disk to file",
    ("services.disk_files", "drivers.disk"): "what is removed stays so in a power failure",
    ("services.cell_arrivals", "drivers.disk"): "what is noted survives a power failure",
    ("services.link_speeds", "drivers.disk"): "a file of figures is whole, or as it was before",
    ("services.moved_disks", "drivers.disk"): "what disks are based on is read from their headers",
    ("services.arrived_disks", "drivers.disk"): "a disk is converted whole or not at all",
    ("services.arrivals", "drivers.disk"): "what a directory is for survives a power failure",
    ("services.live_disks", "drivers.disk"): "QEMU copies into disks that are there, whole",
    ("steps.move.send", "drivers.disk"): "what is copied beside is whole or not there",
    ("services.disk_copy", "drivers.disk"): "what is copied is whole or not there",
    ("steps.volume.snapshots", "drivers.disk"): "files of a guest that is off are merged",
    ("steps.guest.rescue", "drivers.disk"): "a definition is kept whole, with a disk's owner",
    ("configdrive.writer", "drivers.disk"): "a config drive is a disk file that mkisofs writes",
    ("drivers.image.glance", "drivers.disk"): "a download is renamed into place like a disk",
    ("drivers.volume.drivers", "drivers.loader"): "the kinds of volumes are known at run time only",
    ("drivers.volume.drivers", "drivers.disk"): "lock files that other services share",
    ("drivers.volume.rbd", "drivers.disk"): "who has an image open is shut out as with a disk",
    ("drivers.volume.users", "drivers.disk"): "lock files, and files that survive a crash",
    ("drivers.volume.mounts", "drivers.disk"): "mount(8) runs like any other outside program",
    ("drivers.vif.links", "drivers.disk"): "ip(8) runs like any other outside program",
    ("drivers.volume.luks", "drivers.disk"): "qemu-img runs like any other outside program",
    ("services.volume_keys", "drivers.volume"): "who has the key puts LUKS on an empty one",
    ("drivers.share.drivers", "drivers.loader"): "protocols of shares are known at run time only",
    ("drivers.share.drivers", "drivers.disk"): "locks by name",
    ("drivers.share.mounted", "drivers.disk"): "mount(8) gets its key like any outside program",
    ("drivers.share.mounted", "drivers.volume"): "a share and volumes on it are one mount",
    ("engine", "drivers.disk"): "the journal brings names to the disk as disk files are",
    ("rpc.callers", "peers"): "what hosts ask of each other comes late in a long request",
    ("membership.identity", "drivers.disk"): "compute_id is made whole and has a disk's owner",
}
# Module -> why it touches oslo.config's global ConfigOpts.
GLOBAL_CONF: dict[str, str] = {
    "drivers.oslo_globals": "os-vif and os-brick read nothing else; our files are given to it",
}
# Module -> why it compares a record's host with something.
HOST_COMPARISONS: dict[str, str] = {
    "services.ownership": "whose server it is, is decided here and nowhere else",
    "inventory.moves": "both ends of a move claim; it lies below the services",
    "membership.join": "the host of the ComputeNode record",
    "preflight.messaging": "the host of the ComputeNode record",
}
# Module or module:function -> why it may be longer.
LONG: dict[str, str] = {
    "guest.plan:plan_domain": "one record, filled in field by field; half of it is the signature",
    "composition:toolbox": "one record, filled in field by field",
    "inventory.node:fields": "one record, filled in field by field",
}


@dataclass(frozen=True)
class Source:
    """One module, named relative to the package: ``operations.boot``."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


@functools.cache
def sources() -> tuple[Source, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            text = path.read_text(encoding="utf-8")
            found.append(Source(name, text, ast.parse(text, str(path))))
    return tuple(found)


def imported(source: Source) -> Iterator[str]:
    """Full dotted names, also of imports inside functions and below TYPE_CHECKING."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source.name} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def neighbours(source: Source) -> Iterator[str]:
    """What a module imports of nova_lite, relative to the package."""
    for name in imported(source):
        top, _, rest = name.partition(".")
        if top == NAME and rest:
            yield rest


def inside(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def allowed(source: Source, target: str) -> bool:
    room = target.partition(".")[0]
    rule = ROOMS[source.room]
    if rule is ANYTHING or room in COMMON:
        return True
    if room == source.room:
        return room != "drivers" or _same_kind(source.name, target) or inside(target, ANY_DRIVER)
    if room == "drivers":
        return BASES in rule and target.split(".")[2:3] == ["base"]
    if room == "clients" and inside(source.name, "drivers.image"):
        return True
    return room in rule


def _same_kind(name: str, target: str) -> bool:
    """Drivers of different kinds know nothing of each other."""
    return name.split(".")[1:2] == target.split(".")[1:2]


def excepted(source: Source, target: str) -> tuple[str, str] | None:
    for module, what in EXCEPTIONS:
        if inside(source.name, module) and inside(target, what):
            return module, what
    return None


def test_every_room_is_in_the_table() -> None:
    """A new room says first whom it may import."""
    assert {source.room for source in sources()} <= set(ROOMS)


def test_the_table_has_no_circle() -> None:
    """Directions in the table lead downwards: no room reaches itself."""
    edges = {room: set(rule) for room, rule in ROOMS.items() if rule is not ANYTHING}

    def reach(room: str, seen: frozenset[str]) -> None:
        assert room not in seen, f"{room} imports itself by way of {sorted(seen)}"
        for target in edges.get("drivers" if room == BASES else room, ()):
            reach(target, seen | {room})

    for room in edges:
        reach(room, frozenset())


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_imports_follow_the_table(source: Source) -> None:
    """A module imports only from the rooms that its own room may know."""
    wrong = [t for t in neighbours(source) if not allowed(source, t) and not excepted(source, t)]

    assert [] == wrong


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_libraries_stay_in_their_place(source: Source) -> None:
    """Only the rooms named in LIBRARIES import a library with a place of its own."""
    wrong = []
    for name in imported(source):
        places = LIBRARIES.get(name.partition(".")[0])
        if places is not None and not any(inside(source.name, place) for place in places):
            wrong.append(name)

    assert [] == wrong


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_no_global_configuration(source: Source) -> None:
    """A ConfigOpts is passed in; nobody touches oslo.config's global one."""
    uses = [
        node.lineno
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "CONF"
        and isinstance(node.value, ast.Name)
        and node.value.id == "cfg"
    ]
    imports = [name for name in imported(source) if name == "oslo_config.cfg.CONF"]

    assert source.name in GLOBAL_CONF or ([], []) == (uses, imports)


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_ownership_decides_whose_server_it_is(source: Source) -> None:
    """Nobody else compares a server's host: it may be arriving, leaving, or evacuated."""
    compared = [
        f"{source.name}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare)
        and any(_reads_host(side) for side in (node.left, *node.comparators))
    ]

    assert source.name in HOST_COMPARISONS or [] == compared


def _reads_host(node: ast.expr) -> bool:
    """Whether it is ``record["host"]`` or ``record.get("host")``."""
    if isinstance(node, ast.Subscript):
        key: ast.expr | None = node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        key = node.args[0] if node.func.attr == "get" and node.args else None
    else:
        key = None
    return isinstance(key, ast.Constant) and key.value == "host"


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_nothing_gets_long(source: Source) -> None:
    """A module fits a short read, a function a screen, or LONG says why not."""
    long = []
    if source.name not in LONG and (lines := source.text.count("\n")) > MODULE_LINES:
        long.append(f"{source.name}: {lines} lines")
    for name, lines in lengths(source):
        if name not in LONG and lines > FUNCTION_LINES:
            long.append(f"{name}: {lines} lines")

    assert [] == long


def lengths(source: Source) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{source.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_every_exception_is_needed_and_has_a_reason() -> None:
    """An exception that nothing uses any more goes away."""
    used = set()
    for source in sources():
        used |= {
            excepted(source, target) for target in neighbours(source) if not allowed(source, target)
        }
        if source.text.count("\n") > MODULE_LINES:
            used.add(source.name)
        used |= {name for name, lines in lengths(source) if lines > FUNCTION_LINES}

    assert set() == ({*EXCEPTIONS, *LONG} - used)
    assert all(reason.strip() for reason in (*EXCEPTIONS.values(), *LONG.values()))
