"""An option that is registered is read by somebody, or an operator sets it for nothing."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_lite import conf as options

PACKAGE = Path(__file__).parents[3] / "nova_lite"

# Modules that are given the name of the group.
ANY_GROUP = ("clients/session.py",)


@dataclass(frozen=True)
class Module:
    """What a module names: attributes and strings, without those of its docstrings.

    ``patterns`` are its f-strings that may be names of options.
    """

    name: str
    words: frozenset[str]
    names: frozenset[str]
    patterns: tuple[str, ...]

    def reads(self, group: str | None, name: str) -> bool:
        """A group is mentioned in the module, or is the subject of its file."""
        if name not in self.names and not any(re.fullmatch(p, name) for p in self.patterns):
            return False
        return (
            group is None
            or group in self.words
            or group in self.name
            or self.name in ANY_GROUP
        )  # fmt: skip


def module(name: str, text: str) -> Module:
    tree = ast.parse(text)
    # Docstrings are expressions that stand alone.
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    names, patterns = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.JoinedStr) and _is_name(node):
            patterns.add("".join(_pattern(part) for part in node.values))
        elif isinstance(node, ast.Constant) and id(node) not in prose:
            names.add(str(node.value))
    return Module(name, frozenset(re.findall(r"\w+", text)), frozenset(names), tuple(patterns))


def _is_name(text: ast.JoinedStr) -> bool:
    """Whether an f-string can be an option's name: words, and more of them than holes."""
    fixed = [str(part.value) for part in text.values if isinstance(part, ast.Constant)]
    return len("".join(fixed)) > 8 and all(re.fullmatch(r"\w+", part) for part in fixed)


def _pattern(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else r"\w+"


@functools.cache
def modules() -> tuple[Module, ...]:
    """Everything but the options themselves, and what reads them all without using them."""
    return tuple(
        module(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "conf"
    )


def readers(group: str | None, name: str) -> list[str]:
    """Modules that read an option."""
    return [found.name for found in modules() if found.reads(group, name)]


@pytest.mark.parametrize(
    ("group", "name"),
    [(part.GROUP, opt.dest) for part in options.MODULES for opt in part.OPTS],
)
def test_every_option_is_read(group, name):
    """Otherwise it is honoured, or leaves the package for the table ``unsupported``."""
    assert readers(group, name)


def test_what_is_not_read_is_found():
    """The search is not satisfied by a mere mention."""
    mention = module("steps/x.py", '"""It has nothing to do with [libvirt] swtpm_magic."""')
    use = module("steps/x.py", "limit = conf.libvirt.swtpm_magic")
    made = module("steps/x.py", "limit = conf.libvirt[f'swtpm_{name}']")

    assert readers("libvirt", "no_such_option") == []
    assert not mention.reads("libvirt", "swtpm_magic")
    assert use.reads("libvirt", "swtpm_magic")
    assert not use.reads("compute", "swtpm_magic")
    assert not made.reads("libvirt", "swtpm_magic"), "too little of a name to count"
