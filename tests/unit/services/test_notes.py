"""Notes are records: no name is written that nobody reads, and none is read by a bare string."""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from nova_lite.services import notes
from nova_lite.services.notes import PortNotes, VolumeNotes
from nova_lite.services.work import Work
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject

PACKAGE = Path(notes.__file__).parents[1]


def work(kept):
    instance = WireObject.new("Instance", "2.8", uuid="s1")
    return Work(RequestContext.admin(), None, instance, {}, kept, kept.update)


def test_what_was_noted_is_read_by_subject():
    """The rest has its default."""
    about = work({})
    about.note(vifs="[]", mapped=True)

    assert PortNotes.of(about.notes) == PortNotes(vifs="[]")
    assert VolumeNotes.of(about.notes).mapped
    assert VolumeNotes.of(about.notes).usage is None


def test_a_name_that_nobody_reads_is_refused():
    """A typo shows when it is written, and nothing is written."""
    kept = {}
    with pytest.raises(TypeError, match=r"notes\.py has awaitports"):
        work(kept).note(vifs="[]", awaitports=[])

    assert kept == {}


def test_what_a_newer_agent_noted_is_left_alone():
    """Its operation can be gone on with."""
    assert PortNotes.of({"vifs": "[]", "colour": "green"}).vifs == "[]"


def test_a_name_is_of_one_record():
    """Two subjects that share a name would overwrite each other."""
    counted = Counter(field.name for record in notes.RECORDS for field in fields(record))

    assert [name for name, times in counted.items() if times > 1] == []


def test_records_are_what_the_journal_can_keep():
    """Defaults, at least, are JSON-able."""
    for record in notes.RECORDS:
        json.dumps({field.name: getattr(record(), field.name) for field in fields(record)})


def calls():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path.relative_to(PACKAGE), node


def test_every_note_in_the_code_has_a_record():
    """Also in branches that no test reaches."""
    noted = {
        (str(path), keyword.arg)
        for path, node in calls()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("note", "note_unsynced")
        and "claims" not in ast.unparse(node.func)
        for keyword in node.keywords
        if keyword.arg is not None
    }

    assert len(noted) > 25
    assert {name for _, name in noted} <= notes.names()
    assert {name for _, name in noted} == notes.names(), "a record that nobody writes"


def test_nobody_reads_notes_by_a_bare_string():
    """Attributes of records are checked; strings are not."""
    found = [
        f"{path}: {ast.unparse(node)}"
        for path, node in calls()
        if (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value).endswith(".notes")
        )
        or (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(".notes.get")
        )
    ]

    assert found == []
