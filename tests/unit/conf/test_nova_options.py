"""The table of nova's options, held to nova: nothing is forgotten, nothing is made up."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nova_lite import conf as options
from nova_lite.conf import unread
from nova_lite.conf.unsupported import ALIASES, TABLE, Effect

REPO = Path(__file__).parents[3]
NOVA = Path(os.environ.get("NOVA_LITE_CLOUD", "/opt/nova-lite-cloud")) / "venv/bin/python"


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nova_options", REPO / "doc/nova_options.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = tool()
RECORD: dict[str, Any] = TOOL.recorded()
NOVAS = sorted(set(TOOL.options(RECORD)))
OURS = {group or "DEFAULT": {o.dest: o for o in opts} for group, opts in options.list_opts()}

# Registered under nova's name with something else, and why.
DIFFERENT = {
    ("DEFAULT", "compute_driver"): "nova has no default; this agent drives libvirt",
    ("DEFAULT", "state_path"): "where every package of nova sets it to",
    ("DEFAULT", "shelved_offload_time"): "values below -1 mean nothing in nova",
    ("manila", "share_apply_policy_timeout"): "negative times mean nothing in nova",
}
# keystoneauth's own, which nova registers only in part.
KEYSTONE = {"tenant_id", "tenant_name"}


def test_the_record_is_of_the_installed_nova():
    """New options of nova are seen as soon as it is installed."""
    if not NOVA.exists():
        pytest.skip(f"no nova in {NOVA}")
    installed = TOOL.ask(NOVA)

    if installed["version"] == RECORD["version"]:
        assert installed["options"] == RECORD["options"], (
            "python doc/nova_options.py record " + str(NOVA)
        )
    else:
        known = set(NOVAS)
        assert [] == [
            (group, name)
            for group, rows in installed["options"].items()
            for name in rows
            if (group, name) not in known
        ]


@pytest.mark.parametrize("group", sorted({group for group, _ in NOVAS}))
def test_every_option_of_nova_has_one_verdict(group):
    """Honoured, not for a compute host, read by a library, or not supported: one of them."""
    wrong = {}
    for name in (name for g, name in NOVAS if g == group):
        verdict = unread.verdict(group, name)
        honoured = name in OURS.get(group, ()) or (name in KEYSTONE and group in OURS)
        if str(verdict).startswith("read by"):
            continue  # a library that shares its group with options of ours
        if honoured == bool(verdict):
            wrong[name] = f"registered and {verdict}" if honoured else "nobody says"

    assert wrong == {}


def test_the_table_is_about_options_of_nova():
    """A row that no release of nova has is a mistake in writing."""
    known = set(NOVAS)
    rows = [(group, name) for group, names in TABLE.items() for name in names if name != "*"]
    rows += [
        (group, name)
        for group, names in unread.NOT_FOR_COMPUTE.items()
        if names != unread.ALL
        for name in names
    ]

    assert [] == [row for row in rows if row not in known]
    assert [] == [alias for alias in ALIASES.values() if alias not in known]


def test_former_names_of_the_table_are_those_of_nova():
    """A refused option is found under each name that nova still reads."""
    novas = {
        (alias_group, alias_name): (group, name)
        for group, rows in RECORD["options"].items()
        for name, row in rows.items()
        for alias_group, alias_name in row.get("aliases", ())
        if name in TABLE.get(group, ())
    }

    assert novas == dict(ALIASES)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group, name)
        for group, rows in OURS.items()
        for name in rows
        if name in RECORD["options"].get(group, ())
    ],
)
def test_honoured_options_are_as_in_nova(group, name):
    """Default, limits, choices and former names, so that one file serves both agents."""
    row, opt = RECORD["options"][group][name], OURS[group][name]
    if (group, name) in DIFFERENT:
        return
    aliases = [[a.group or group, a.name or opt.dest] for a in opt.deprecated_opts]
    if "namespace" not in row and name in KEYSTONE_OPTS:
        aliases = [list(alias) for alias in row.get("aliases", ())]

    assert repr(opt.sample_default or opt.default) == row["default"]
    assert (getattr(opt.type, "min", None), getattr(opt.type, "max", None)) == (
        row.get("min"), row.get("max"),
    )  # fmt: skip
    choices = getattr(opt.type, "choices", None)
    assert (sorted(map(str, choices)) if choices else None) == row.get("choices")
    assert sorted(aliases) == row.get("aliases", [])


KEYSTONE_OPTS = {opt.dest for opt in options.keystone.sample_opts()}


def test_what_differs_from_nova_does_differ():
    """An exception that is not needed any more goes away."""
    for group, name in DIFFERENT:
        row, opt = RECORD["options"][group][name], OURS[group][name]
        mine = {
            "default": repr(opt.sample_default or opt.default),
            "min": getattr(opt.type, "min", None),
        }
        assert mine != {"default": row["default"], "min": row.get("min")}, (group, name)


def test_harmless_values_are_the_defaults_of_nova():
    """A file that spells out nova's defaults makes no noise about options that are off then."""
    for group, rows in TABLE.items():
        for name, row in rows.items():
            default = RECORD["options"].get(group, {}).get(name, {}).get("default")
            if row.same and default is not None:
                value = "" if default in ("None", "[]", "''") else default.strip("'")
                assert row.same_as([value]), (group, name, default)


def test_the_page_says_what_the_table_says():
    """doc/source/nova-conf.rst is made of it."""
    assert TOOL.PAGE.read_text() == TOOL.page(), "python doc/nova_options.py page"


def test_refused_are_those_that_cost_something():
    """The list of the operator guide."""
    refused = sorted(
        f"[{group}]{name}"
        for group, rows in TABLE.items()
        for name, row in rows.items()
        if row.effect is Effect.REFUSED
    )

    assert refused == [
        "[DEFAULT]servicegroup_driver",
        "[DEFAULT]vcpu_pin_set",
        "[devices]enabled_mdev_types",
        "[ephemeral_storage_encryption]enabled",
        "[libvirt]num_intel_tdx_guests",
        "[libvirt]pmem_namespaces",
        "[pci]alias",
        "[pci]device_spec",
    ]
