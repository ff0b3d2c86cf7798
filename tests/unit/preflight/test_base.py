from __future__ import annotations

import threading
import time

import pytest

from nova_lite.errors import ControlPlaneUnavailable
from nova_lite.preflight import base
from nova_lite.preflight.base import Check, Finding, Status, failure, ok, run, warning


def check(name: str, finding: Finding | Exception, *needs: str) -> Check:
    def look(env: object) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return Check(name, look, f"mend {name}", needs=needs)


def statuses(*checks: Check) -> dict[str, str]:
    return {result.name: result.status.value for result in run(checks, None)}


def test_results_come_in_the_order_of_the_checks() -> None:
    """However long each takes."""

    def slow(env: object) -> Finding:
        time.sleep(0.1)
        return ok("late")

    found = run([Check("a", slow, ""), check("b", ok("early"))], None)

    assert [(result.name, result.message) for result in found] == [("a", "late"), ("b", "early")]
    assert found[0].seconds >= 0.1


def test_checks_run_side_by_side() -> None:
    """Two that wait for each other both finish."""
    barrier = threading.Barrier(2, timeout=5)

    def meet(env: object) -> Finding:
        barrier.wait()
        return ok("met")

    found = run([Check("a", meet, ""), Check("b", meet, "")], None)

    assert {result.message for result in found} == {"met"}


def test_a_hanging_check_fails_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that accepts and never answers does not hang the command."""
    monkeypatch.setattr(base, "GRACE_S", 0.05)
    end = threading.Event()

    def hang(env: object) -> Finding:
        end.wait(20)
        return ok("too late")

    began = time.monotonic()
    hangs = [Check(name, hang, "mend it", limit_s=0.2) for name in "abc"]
    found = run([*hangs, check("d", ok(""), "a")], None)
    end.set()

    assert time.monotonic() - began < 2
    assert [result.status for result in found[:3]] == [Status.FAILURE] * 3
    assert found[0].message == "no answer within 0.2 s"
    assert found[0].remedy == "mend it"
    assert found[3].status is Status.SKIPPED


def test_what_needs_a_failed_check_is_skipped() -> None:
    """Also through a skipped one; a warning is good enough to go on, and so is a check left out."""
    assert statuses(
        check("a", failure("x", "y")),
        check("b", ok(""), "a"),
        check("c", ok(""), "b"),
        check("d", warning("x", "y")),
        check("e", ok(""), "d", "left out"),
    ) == {"a": "failure", "b": "skipped", "c": "skipped", "d": "warning", "e": "ok"}


def test_errors_become_failures_with_the_remedy_of_the_check() -> None:
    """Ours by their message, unexpected ones by type as well."""
    found = run(
        [check("a", ControlPlaneUnavailable("no broker")), check("b", ValueError("odd"))], None
    )

    assert [(result.message, result.remedy) for result in found] == [
        ("no broker", "mend a"),
        ("ValueError: odd", "mend b"),
    ]


def test_secrets_are_hidden() -> None:
    """Whatever a library puts into its messages."""
    checks = [check("a", RuntimeError("rabbit://u:hush@h")), check("b", failure("x", "hush?"))]

    found = run(checks, None, hide=lambda text: text.replace("hush", "***"))

    assert "hush" not in repr(found)
    assert found[1].remedy == "***?"


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("")], 0),
        ([ok(""), warning("", "")], 1),
        ([warning("", ""), failure("", ""), ok("")], 2),
    ],
)
def test_the_worst_result_gives_the_exit_code(findings: list[Finding], code: int) -> None:
    """0 all well, 1 warnings, 2 failures; skipped ones follow from a failure."""
    results = run([check(str(n), finding) for n, finding in enumerate(findings)], None)

    assert base.exit_code(results) == code
