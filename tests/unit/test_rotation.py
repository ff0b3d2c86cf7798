"""The rotation of long tests: stable, complete, without overlaps; it says what it left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rotation import NOTHING, SHARES, Share, commit, compact, split

TESTS = [f"tests/cloud/test_{file}.py::test_{number}" for file in "abc" for number in range(30)]
CORE = set(TESTS[::10])


def test_all_shares_together_are_everything_and_overlap_in_the_core_only():
    """Whatever a share leaves out, exactly one other share runs."""
    runs = [split(TESTS, CORE, Share(number))[0] for number in range(SHARES)]
    times = {test: sum(test in run for run in runs) for test in TESTS}
    assert times == {test: SHARES if test in CORE else 1 for test in TESTS}


def test_a_share_leaves_out_the_rest():
    """Chosen and left out are everything, each in the order given, and no share is empty."""
    for number in range(SHARES):
        chosen, left_out = split(TESTS, CORE, Share(number))
        assert sorted(chosen + left_out) == sorted(TESTS)
        assert chosen == [test for test in TESTS if test in chosen]
        assert len(chosen) > len(CORE) and left_out


def test_the_share_of_a_test_is_the_same_everywhere():
    """Another process, machine or version of Python comes to the same answer."""
    shares = [Share(n, 5).has("tests/cloud/test_power.py::test_soft_reboot") for n in range(5)]
    assert shares == [False, False, False, False, True]


def test_commits_choose_all_shares():
    """Thirty of them are enough; without git it is the first share."""
    assert {Share.of_seed(f"{number:012x}").number for number in range(100)} == set(range(SHARES))
    assert Share.of_seed("") == Share(0)


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "a/b", "0/0", ""])
def test_a_share_that_is_none_is_refused(text):
    """The message says how one looks."""
    assert str(Share.parse("2/5")) == "2/5"
    with pytest.raises(ValueError, match=f"like 0/{SHARES}"):
        Share.parse(text)


def test_the_commit_is_the_one_that_is_checked_out(tmp_path: Path):
    """Empty where there is no repository."""
    assert commit(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "First"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert head.stdout.startswith(commit(tmp_path)) and len(commit(tmp_path)) == 12


def test_what_was_left_out_is_told_by_name_in_few_lines():
    """One paragraph for each file."""
    assert compact(["a/test_x.py::test_one", "b.py::test_three[p]", "a/test_x.py::test_two"]) == [
        "a/test_x.py: one, two",
        "b.py: three[p]",
    ]
    lines = compact(f"x.py::test_number_{number}" for number in range(30))
    assert max(map(len, lines)) <= 100 and len(lines) > 1
    assert " ".join(lines).count("number_") == 30


CONFTEST = 'pytest_plugins = ["tests.rotation"]'
MODULE = """
import pytest

@pytest.mark.parametrize("number", range(12))
def test_of_the_rest(number):
    pass

@pytest.mark.core
def test_of_the_core():
    pass
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run pytest on a level with 13 tests; its last lines."""
    repository = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(repository))
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers")
    (tmp_path / "level").mkdir()
    (tmp_path / "level" / "conftest.py").write_text(CONFTEST)
    (tmp_path / "level" / "test_it.py").write_text(MODULE)

    def run_it(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", *options]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    return run_it


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_pytest_runs_core_and_share_and_names_the_rest(run, workers):
    """Also when the tests run in workers, who alone know what was left out."""
    said = run("level", "--share", f"1/{SHARES}", *workers)
    share = [n for n in range(12) if Share(1).has(f"level/test_it.py::test_of_the_rest[{n}]")]
    assert f"{len(share) + 1} passed" in said
    assert f"left out: {12 - len(share)} tests" in said
    for number in range(12):
        assert (f"of_the_rest[{number}]" in said) == (number not in share)
    assert "--full runs all" in said


def test_everything_runs_when_asked_for(run):
    """With --full, or when the file is named."""
    for arguments in (["level", "--full"], ["level/test_it.py"]):
        said = run(*arguments)
        assert "13 passed" in said and "left out" not in said


def test_the_seed_chooses_the_share(run):
    """As the commit does."""
    assert f"share {Share.of_seed('abc')} of the rotation (seed 'abc')" in run(
        "level", "--seed", "abc"
    )


def test_the_core_alone():
    """A release that is run now and then gets no share of the others."""
    assert split(TESTS, CORE, NOTHING)[0] == [test for test in TESTS if test in CORE]
