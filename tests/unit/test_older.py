"""Which commits are tried on an older release."""

from __future__ import annotations

import subprocess

import pytest

from tests.cloud.support.older import NEW_S, OLDER, due

BEGAN = 1_800_000_000


class Repository:
    """Commits files at given times."""

    def __init__(self, directory):
        self.directory = directory
        self._git("init", "--quiet")

    def commit(self, path, at):
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(at))
        self._git("add", path)
        when = f"{BEGAN + at} +0000"
        self._git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", path,
                  env={"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when})  # fmt: skip

    def _git(self, *arguments, env=None):
        subprocess.run(["git", *arguments], cwd=self.directory, check=True, env=env)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_a_new_change_of_the_wire_is_tried(repository):
    """Also where a later commit is about something else."""
    repository.commit("nova_lite/wire/decode.py", 0)
    repository.commit("README.rst", NEW_S - 1)

    assert due(repository.directory) in OLDER


def test_other_changes_are_not(repository):
    """Nor is an old change tried for ever."""
    repository.commit("nova_lite/loops/heartbeat.py", 0)
    assert due(repository.directory) is None
    repository.commit("nova_lite/rpc/server.py", 1)
    repository.commit("README.rst", NEW_S + 2)
    assert due(repository.directory) is None


def test_each_release_has_its_turn(repository):
    """By the hash of the commit."""
    repository.commit("nova_lite/wire/decode.py", 0)
    seen = set()
    for number in range(1, 60):
        repository.commit("README.rst", number)
        seen.add(due(repository.directory))

    assert seen == set(OLDER)


def test_without_git_there_is_none(tmp_path):
    """A tarball says nothing of what has changed."""
    assert due(tmp_path) is None
