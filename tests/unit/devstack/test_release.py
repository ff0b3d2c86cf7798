"""What devstack/cloud does about Nova's databases when another release is asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]
# All of devstack/cloud but its command line; what would touch the machine only says its name.
LIBRARY = """
set -euo pipefail
CLOUD={repo}/devstack/cloud DEVSTACK={repo}/devstack REPO={repo}
for library in "$DEVSTACK"/lib/*.sh; do . "$library"; done
for action in stop_hosts stop_services create_databases install_release; do
  eval "$action() {{ echo \\"$action \\$*\\"; }}"
done
sql() {{ cat; }}
nova_manage() {{ echo "nova-manage $*"; }}
prepare() {{ mkdir -p "$DATA/done" "$HOSTS"; }}
prepare
"""


@pytest.fixture
def shell(tmp_path):
    def run(script, release="", change="", code=0):
        variables = {"NOVA_LITE_CLOUD": str(tmp_path), "PATH": os.environ["PATH"]}
        variables |= {"NOVA_RELEASE": release} if release else {}
        variables |= {"NOVA_CHANGE": change} if change else {}
        done = subprocess.run(
            ["bash", "-c", LIBRARY.format(repo=REPO) + script],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    return run


@pytest.fixture
def recorded(tmp_path):
    def record(release):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data/nova-release").write_text(f"{release}\n")

    return record


@pytest.mark.parametrize("release", ["2025.1", "2025.2", "2026.1", "2026.2", ""])
def test_a_new_cloud_may_have_any_release(shell, release):
    """There is nothing to lose; without a wish it is the newest."""
    said = shell("require_release; release_change; echo $NOVA_RELEASE", release)
    assert said.split() == ["none", release or "2026.2"]


def test_a_cloud_keeps_its_release(shell, recorded):
    """Who says nothing gets what is there."""
    recorded("2025.1")
    assert shell("release_change; basename $NOVA_VENV").split() == ["none", "venv-nova-2025.1"]


def test_an_unknown_release_is_refused(shell):
    """With those that there are."""
    assert "it can be one of 2025.1 2025.2" in shell("require_release", "2024.2", code=1)


@pytest.mark.parametrize(
    ("present", "release", "kept"),
    [("2026.2", "2025.1", False), ("2025.1", "2026.1", True), ("2025.1", "2026.2", False)],
)
def test_another_release_changes_nothing_by_itself(shell, recorded, present, release, kept):
    """The refusal says what would be lost, and names the ways; upgrading only where Nova can."""
    recorded(present)
    for step in ("announce_release", "step_release", "nova_database"):
        said = shell(f"load_secrets() {{ :; }}; {step}", release, code=1)
        assert f"are of {present}, and this is to be {release}. Nothing was changed" in said
        assert "--wipe-nova   empties them: all servers are lost" in said
        assert ("--upgrade" in said) == kept
    assert shell("database_release").strip() == present


def test_a_cloud_from_before_there_were_releases(shell):
    """It has the one that was the only one."""
    said = shell("touch $DATA/done/nova-database; release_change", "2025.1", code=1)
    assert "are of 2026.2" in said


@pytest.mark.parametrize(
    ("present", "release", "possible"),
    [
        ("2025.1", "2025.2", True), ("2025.1", "2026.1", True), ("2025.2", "2026.1", True),
        ("2026.1", "2026.2", True), ("2025.1", "2026.2", False), ("2025.2", "2026.2", False),
        ("2026.2", "2026.1", False),
    ],
)  # fmt: skip
def test_what_can_be_upgraded(shell, recorded, present, release, possible):
    """Release by release, or from spring to spring; never back."""
    recorded(present)
    said = shell("release_change", release, "upgrade", code=0 if possible else 1)
    assert said.strip() == "upgrade" if possible else "cannot be upgraded" in said


def test_an_upgrade(shell, recorded):
    """The control services stop, agents do not; the schema, then the data, then the record."""
    recorded("2025.1")

    said = shell("announce_release; step_release; database_release", "2026.1", "upgrade")

    lines = said.splitlines()
    assert "Nova's databases are upgraded from 2025.1 to 2026.1" in said
    assert not [line for line in lines if line.startswith("stop_hosts")]
    done = [line.rpartition("nova.conf ")[2] for line in lines if "nova-manage" in line]
    assert lines.index("stop_services nova-*") < lines.index(
        next(line for line in lines if line.startswith("nova-manage"))
    )
    assert done == ["api_db sync", "db sync", "db online_data_migrations"]
    assert lines[-1] == "2026.1"


def test_emptying(shell, recorded, tmp_path):
    """Said first; afterwards a host is as new but for who it is, and no server has anything."""
    recorded("2026.2")
    files = "agent uuid nova/compute_id nova/instances/s1/disk libvirt/x etc/hosts"
    for file in files.split():
        path = tmp_path / "nodes/node1" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "data/done").mkdir(parents=True)
    for marker in ("nova-database", "cell2-database", "placement-database"):
        (tmp_path / "data/done" / marker).touch()

    said = shell("announce_release; step_release; release_change", "2025.1", "wipe")

    assert said.index("They are EMPTIED for 2025.1") < said.index("stop_hosts")
    assert "drop database if exists nova_cell2;" in said
    assert "delete from placement.allocations" in said
    assert said.splitlines()[-1] == "none"
    home = tmp_path / "nodes/node1"
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert left == ["agent", "nova/compute_id", "uuid"]
    assert [path.name for path in (tmp_path / "data/done").iterdir()] == ["placement-database"]
    assert (tmp_path / "data/nova-emptied").exists()
    assert not (tmp_path / "data/nova-release").exists()


def test_every_older_release_has_its_set():
    """Frozen, with a nova of that release."""
    major = {"2025.1": "31", "2025.2": "32", "2026.1": "33"}
    for release, number in major.items():
        lines = (REPO / "devstack/releases" / f"{release}.txt").read_text().splitlines()
        assert any(line.startswith(f"nova=={number}.") for line in lines)
        assert all("==" in line or line.startswith("#") for line in lines)
