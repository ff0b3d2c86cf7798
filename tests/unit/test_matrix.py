"""The support matrix names tests that there are, and the documentation has all of its cells."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from nova_lite.wire.releases import RELEASES
from tests.cloud.support.matrix import CELLS, names

REPO = Path(__file__).parents[2]
PAGE = REPO / "doc/source/releases.rst"


@pytest.mark.parametrize("test", names())
def test_a_cell_is_made_of_tests_that_there_are(test):
    """One that is renamed is renamed there, too."""
    file, _, name = test.partition("::")
    functions = [node for node in ast.parse((REPO / file).read_text()).body
                 if isinstance(node, ast.FunctionDef)]  # fmt: skip
    assert name in {function.name for function in functions}


def test_a_cell_that_there_is_not():
    """No test is left out in silence."""
    with pytest.raises(KeyError, match="volumes"):
        names("boot", "volumes")


def test_the_page_has_every_cell():
    """A row for each release, a column or row for each cell."""
    text = PAGE.read_text()
    for release in RELEASES:
        assert f"* - {release.name}" in text or f"- {release.name}\n" in text
    for cell in CELLS:
        assert f"* - {cell}\n" in text
