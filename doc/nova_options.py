"""The options of nova that matter to a compute host: recorded from nova, and as a page.

``python doc/nova_options.py record PYTHON [PYTHON ...]`` asks Python programs that have nova
(2026.2 first, older ones for what has gone since) and writes tests/data/nova_options.json.
``python doc/nova_options.py page`` writes doc/source/nova-conf.rst from the table in
nova_lite/conf and that record. Tests hold both to what is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
RECORD = REPO / "tests/data/nova_options.json"
PAGE = REPO / "doc/source/nova-conf.rst"

# Run by a Python that has nova: what its program nova-compute may find in its files.
LIST = """
import importlib.metadata as metadata, json, re, sys, sysconfig
NAMESPACES = (
    "nova.conf", "keystonemiddleware.auth_token", "os_brick", "os_vif", "oslo.concurrency",
    "oslo.limit", "oslo.middleware", "oslo.policy", "oslo.privsep", "oslo.reports",
    "oslo.service.periodic_task", "oslo.service.service", "oslo.versionedobjects", "osprofiler",
)
found = {}
points = {point.name: point for point in metadata.entry_points(group="oslo.config.opts")}
for namespace in NAMESPACES:
    for group, opts in points[namespace].load()():
        group = getattr(group, "name", group) or "DEFAULT"
        for opt in opts:
            choices = getattr(opt.type, "choices", None)
            row = {
                "default": repr(opt.sample_default or opt.default),
                "min": getattr(opt.type, "min", None),
                "max": getattr(opt.type, "max", None),
                "choices": sorted(map(str, choices)) if choices else None,
                "aliases": sorted(
                    [name.group or group, name.name or opt.dest] for name in opt.deprecated_opts
                ),
            }
            row = {name: value for name, value in row.items() if value not in (None, [])}
            found.setdefault(group, {}).setdefault(opt.dest, row)
print(json.dumps({"version": metadata.version("nova"), "options": found}))
"""


def ask(python: str | Path) -> dict[str, Any]:
    """Version and options of the nova that belongs to a Python program."""
    done = subprocess.run(
        [str(python), "-c", LIST], capture_output=True, text=True, check=True, timeout=120
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def record(pythons: list[str]) -> None:
    """Keep what nova says; ``former`` are options that older releases had."""
    newest, *older = [ask(python) for python in pythons]
    former: dict[str, list[str]] = {}
    for release in older:
        for group, options in release["options"].items():
            gone = options.keys() - newest["options"].get(group, {}).keys()
            former[group] = sorted({*former.get(group, ()), *gone})
    newest["former"] = {group: names for group, names in sorted(former.items()) if names}
    lines = [
        f"  {json.dumps(group)}: {{\n"
        + ",\n".join(f"   {json.dumps(n)}: {json.dumps(row)}" for n, row in sorted(rows.items()))
        + "\n  }"
        for group, rows in sorted(newest["options"].items())
    ]
    former_text = json.dumps(newest["former"], sort_keys=True)
    RECORD.write_text(
        f'{{\n "version": {json.dumps(newest["version"])},\n "former": {former_text},\n'
        ' "options": {\n' + ",\n".join(lines) + "\n }\n}\n"
    )


def recorded() -> dict[str, Any]:
    """What ``record`` kept."""
    answer: dict[str, Any] = json.loads(RECORD.read_text())
    return answer


def options(kept: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Group and name of every option of the record, today's and former ones."""
    for group, names in kept["options"].items():
        yield from ((group, name) for name in names)
    for group, names in kept["former"].items():
        yield from ((group, name) for name in names)


def honoured() -> dict[str, set[str]]:
    """The options that nova_lite registers, by group."""
    from nova_lite import conf

    return {group or "DEFAULT": {opt.dest for opt in opts} for group, opts in conf.list_opts()}


def page() -> str:
    """The page in reStructuredText."""
    from nova_lite.conf import unread
    from nova_lite.conf.unsupported import TABLE, Effect

    headings = {
        Effect.REFUSED: (
            "Refused",
            "The agent does not start with these: data, safety or capacity would be lost.",
        ),
        Effect.LOST: (
            "Not supported",
            "Each of these in a file is one warning in the log and in ``nova-lite-status check``.",
        ),
        Effect.NONE: (
            "Not needed",
            "nova-compute reads them, and ignoring them costs nothing. One line each, too.",
        ),
    }
    text = [HEAD]
    for effect, (title, what) in headings.items():
        text += [title, "=" * len(title), "", what, ""]
        for group, rows in TABLE.items():
            told: dict[Any, list[str]] = {}
            for name, row in rows.items():
                if row.effect is effect:
                    told.setdefault(row, []).append(name)
            for row, names in told.items():
                text += _entry(group, sorted(names), row)
    text += ["Not for a compute host", "=" * 22, "", NOT_FOR_COMPUTE, ""]
    for group, names in sorted(unread.NOT_FOR_COMPUTE.items()):
        text += _term(f"``[{group}]``", "all" if names == unread.ALL else ", ".join(sorted(names)))
    text += ["Read by libraries", "=" * 17, "", LIBRARIES, ""]
    for group, library in {**unread.LIBRARIES, **unread.LIBRARY_OPTIONS}.items():
        text += _term(f"``[{group}]``", library)
    return "\n".join(text).rstrip() + "\n"


def _entry(group: str, names: list[str], row: Any) -> list[str]:
    shown = ", ".join("all" if names == ["*"] else "others" if n == "*" else n for n in names)
    values = [f"``{value}``" if value else "an empty value" for value in row.same]
    harmless = f" There is no line for {' or '.join(values)}." if values else ""
    what = f"{_sentence(row.means)} {_sentence(row.remedy)}{harmless}"
    return _term(f"``[{group}]`` {shown}", what)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _term(term: str, description: str) -> list[str]:
    return [term, f"   {description}", ""]


HEAD = """\
===============================
nova.conf of a nova-compute host
===============================

.. This page is made by doc/nova_options.py; change nova_lite/conf instead.

A host that changes its agent keeps its ``nova.conf``. What this agent honours of
it is in :doc:`configuration`. This page has the rest: every other option of nova
2026.2 and of the releases down to 2025.1. The agent says at start, and
``nova-lite-status check`` says before, which of them are in the files of a host
and would be read by nova-compute.

Without ``--config-file`` the same files are read as by nova-compute:
``nova.conf``, ``nova-compute.conf`` and their ``.conf.d`` directories.
""".replace("===============================\n", "=" * 32 + "\n")
NOT_FOR_COMPUTE = (
    "Only other services read these, or nobody does any more. Nothing is said of them."
)
LIBRARIES = "A library reads these groups, here as in nova-compute."


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["record"] and len(arguments) > 1:
        record(arguments[1:])
    elif arguments == ["page"]:
        PAGE.write_text(page())
    else:
        sys.stderr.write(__doc__ or "")
        return 2
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    sys.exit(main(sys.argv[1:]))
