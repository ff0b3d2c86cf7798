"""What every metrics driver keeps, the stand-in of the unit tests included."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from nova_lite.drivers.metrics.textfile import TextfileMetrics
from tests.fakes.metrics import CountedMetrics


class InMemory:
    def __init__(self, tmp_path):
        self.driver = CountedMetrics()

    def read(self):
        return {(name, labels): value for (name, labels), value in self.driver.values.items()}


class Textfile:
    def __init__(self, tmp_path):
        self.path = tmp_path / "nova_lite.prom"
        options = SimpleNamespace(metrics_file=str(self.path))
        self.driver = TextfileMetrics(SimpleNamespace(nova_lite=options))

    def read(self):
        found = {}
        for line in self.path.read_text().splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"nova_lite_(\w+)\{(.*)\} (\S+)", line).groups()
                pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
                decoded = tuple((k, re.sub(r"\\(.)", r"\1", v)) for k, v in pairs)
                found[name, decoded] = float(value)
        return found


@pytest.fixture(params=[InMemory, Textfile])
def case(request, tmp_path):
    return request.param(tmp_path)


def test_counters_add_up_by_name_and_labels(case):
    """Label order does not matter; other labels are another counter."""
    case.driver.count("operations_total", {"method": "stop", "outcome": "success"})
    case.driver.count("operations_total", {"outcome": "success", "method": "stop"})
    case.driver.count("operations_total", {"method": "stop", "outcome": "failure"})
    case.driver.count("operation_seconds_total", {"method": "stop"}, 1.5)
    case.driver.close()

    assert case.read() == {
        ("operations_total", (("method", "stop"), ("outcome", "success"))): 2,
        ("operations_total", (("method", "stop"), ("outcome", "failure"))): 1,
        ("operation_seconds_total", (("method", "stop"),)): 1.5,
    }


def test_any_text_may_be_a_label(case):
    """Quotes and backslashes are not taken for the format's own."""
    case.driver.count("retries_total", {"error": 'say "no" \\ twice'})
    case.driver.close()

    assert case.read() == {("retries_total", (("error", 'say "no" \\ twice'),)): 1}


def test_closing_twice_is_harmless(case):
    """An agent that never worked, or is stopped twice, stops all the same."""
    case.driver.close()
    case.driver.close()
