from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from nova_lite.cmd import status
from nova_lite.preflight.base import Check, failure, ok, warning

FINE = Check("broker", lambda env: ok("answers"), "start it")
DOUBTFUL = Check("disk space", lambda env: warning("little", "free some"), "")
BROKEN = Check("libvirt", lambda env: failure("no answer", "start libvirtd"), "")
NEEDY = Check("QEMU", lambda env: ok(""), "", needs=("libvirt",))


@pytest.fixture
def conf_file(tmp_path: Path) -> str:
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\nhost = node1\nstate_path = /var/lib/nova\n")
    return str(path)


def run(monkeypatch: pytest.MonkeyPatch, checks: tuple[Check, ...], *arguments: str) -> int:
    monkeypatch.setattr(status, "checks", lambda conf: checks)
    return status.main(["check", *arguments])


def test_a_line_for_each_check_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], conf_file: str
) -> None:
    """What is well takes one line, what is not tells what to do."""
    checks = (FINE, DOUBTFUL, BROKEN, NEEDY)

    code = run(monkeypatch, checks, "--config-file", conf_file)

    assert code == 2
    assert capsys.readouterr().out.splitlines() == [
        "ok    broker      answers",
        "WARN  disk space  little",
        "                  -> free some",
        "FAIL  libvirt     no answer",
        "                  -> start libvirtd",
        "skip  QEMU        needs libvirt",
    ]


@pytest.mark.parametrize(
    ("checks", "code", "verdict"),
    [((FINE,), 0, "ok"), ((FINE, DOUBTFUL), 1, "warnings"), ((BROKEN, FINE), 2, "failures")],
)
def test_json_for_programs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    conf_file: str,
    checks: tuple[Check, ...],
    code: int,
    verdict: str,
) -> None:
    """One object, with the same verdict as the exit code."""
    assert run(monkeypatch, checks, "--format", "json", "--config-file", conf_file) == code

    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["result"] == verdict
    assert [row["name"] for row in found["checks"]] == [check.name for check in checks]
    assert set(found["checks"][0]) == {"name", "status", "message", "remedy", "seconds"}


def test_checks_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], conf_file: str
) -> None:
    """By name, in any case; what needed them runs nevertheless."""
    checks = (FINE, BROKEN, NEEDY)

    assert run(monkeypatch, checks, "--skip", "LIBVIRT", "--config-file", conf_file) == 0
    assert "libvirt" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ["[compute]\nmax_disk_devices_to_attach = many\n", None])
def test_a_bad_configuration_is_a_failure_itself(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str | None,
) -> None:
    """No check runs with it, and no traceback is shown."""
    path = tmp_path / "bad.conf"
    if content is not None:
        path.write_text(content)

    assert run(monkeypatch, (FINE,), "--config-file", str(path)) == 2

    captured = capsys.readouterr()
    assert captured.out.startswith("FAIL  configuration")
    assert "max_disk_devices_to_attach" in captured.out or str(path) in captured.out
    assert "broker" not in captured.out


def test_every_real_check_has_a_remedy_and_known_needs() -> None:
    """A failure without a remedy is of no use; names are unique, needs come earlier."""
    names: list[str] = []
    for check in status.checks(cfg.ConfigOpts()):
        assert check.remedy
        assert set(check.needs) <= set(names)
        assert check.limit_s <= 60
        names.append(check.name)

    assert len(names) == len(set(names)) == 20
