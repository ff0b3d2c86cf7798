"""What devstack/cloud tempest makes of results: differences from stock, explained or not."""

import importlib.util
from pathlib import Path

import pytest

DEVSTACK = Path(__file__).resolve().parents[3] / "devstack"
STOCK = {
    "tempest.A.test_pause": "ok",
    "tempest.A.test_stop": "ok",
    "tempest.A.test_volume": "skip",
    "tempest.A.test_old": "fail",
}


@pytest.fixture(scope="module")
def report():
    path = DEVSTACK / "tools" / "tempest_report.py"
    spec = importlib.util.spec_from_file_location("tempest_report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_stock_does_too_is_no_difference(report):
    """Passing like stock, skipping like stock, and passing where stock does not."""
    found = {
        "tempest.A.test_pause": ("ok", ""),
        "tempest.A.test_volume": ("skip", "no cinder"),
        "tempest.A.test_old": ("ok", ""),
        "tempest.A.test_new": ("skip", "off"),
    }
    assert report.compare(found, STOCK, []) == ([], [])


def test_a_failure_is_told_with_its_reason_and_before_skips(report):
    """Failures come first, each with what stock does and with the reason."""
    found = {"tempest.A.test_stop": ("skip", "off"), "tempest.A.test_pause": ("fail", "timed out")}
    (failure, skip), explained = report.compare(found, STOCK, [])
    assert failure == "fail (stock: ok) tempest.A.test_pause\n       timed out"
    assert skip.startswith("skip (stock: ok) tempest.A.test_stop")
    assert explained == []


def test_an_expected_difference_is_explained(report, tmp_path):
    """The first word of a line of the list is a pattern, the rest is the reason."""
    path = tmp_path / "expected.txt"
    path.write_text("# comment\n\ntest_pause$  pausing is later work\n")
    expected = report.read_expected(path)
    found = {"tempest.A.test_pause": ("fail", "HTTP 501")}
    unexplained, explained = report.compare(found, STOCK, expected)
    assert unexplained == []
    assert explained == ["fail tempest.A.test_pause: pausing is later work"]


def test_the_reason_is_what_comes_after_the_last_frame(report):
    """Of a traceback the exception with its details; of a skip everything."""
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1\n    x()\nBad: no\nDetails: {}\n'
    )
    assert report.reason(text) == "Bad: no Details: {}"
    assert report.reason("Volume service not enabled.") == "Volume service not enabled."


def test_recorded_outcomes_are_read_again(report, tmp_path):
    """Names with spaces survive, and a later slice does not forget an earlier one."""
    path = tmp_path / "stock.txt"
    report.write_outcomes(path, {"setUpClass (tempest.B)": ("skip", "off")})
    report.write_outcomes(path, {"tempest.A.test": ("ok", "")})
    assert report.read_outcomes(path) == {"setUpClass (tempest.B)": "skip", "tempest.A.test": "ok"}


def test_the_lists_of_the_repository_are_well_formed(report):
    """Every line of the stock list has an outcome, every expected difference a reason."""
    stock = report.read_outcomes(DEVSTACK / "tempest" / "stock-2026.2.txt")
    assert set(stock.values()) <= {"ok", "skip", "fail"}
    assert all(reason for _, reason in report.read_expected(DEVSTACK / "tempest" / "expected.txt"))
